package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
)

// onDemand are the chains that are made when they are needed and then stay: with
// what leads to them they may be there or not.
var onDemand = regexp.MustCompile(`^((local-)?(lb|affinity)[46]-[0-9]+|learn-.*)$`)

// balancerClass is the class in a verdict that leads to a balancer: with the
// history of a frontend it may differ.
var balancerClass = regexp.MustCompile(`goto ((?:local-)?(?:lb|affinity)[46])-([0-9]+)$`)

// compareTables tells how the table that is there differs from one that was
// computed from nothing; it is empty if they do the same. Which slot a backend is
// in, and the class of a frontend, depend on what was there before, and need
// only hold the invariants. All else must be equal.
func compareTables(want, have *nft.Table) string {
	if have == nil {
		return "there is no table"
	}
	diff := cmp.Diff(describe(want, want), describe(have, want))
	return diff + strings.Join(brokenInvariants(have), "\n")
}

// describe lists all that must be equal. Of the chains that are made on demand
// it lists those that the computed table has too, as far as they are there: that
// verdicts lead to nothing the kernel itself refuses.
func describe(t, computed *nft.Table) []string {
	lines := []string{fmt.Sprintf("table %s owned %t persist %t", t.Name, t.Owned, t.Persist)}
	for _, s := range t.Sets {
		elements := s.Elements
		s = definition(s)
		lines = append(lines, fmt.Sprintf("set %+v", *s))
		for i := range elements {
			lines = append(lines, s.Name+" "+describeElement(s, &elements[i]))
		}
	}
	for _, c := range t.Chains {
		if onDemand.MatchString(c.Name) {
			continue
		}
		lines = append(lines, "chain "+c.Name)
		if c.Base != nil {
			lines = append(lines, fmt.Sprintf("chain %s %+v", c.Name, *c.Base))
		}
		for i, r := range c.Rules {
			lines = append(lines, fmt.Sprintf("chain %s %d: %s", c.Name, i, r))
		}
	}
	for _, c := range computed.Chains {
		if there := t.Chain(c.Name); onDemand.MatchString(c.Name) && there != nil && !sameChain(c, there) {
			lines = append(lines, fmt.Sprintf("chain %s is %v", c.Name, there.Rules))
		}
	}
	slices.Sort(lines)
	return lines
}

func sameChain(a, b *nft.Chain) bool {
	return slices.EqualFunc(a.Rules, b.Rules, func(a, b nft.Rule) bool { return a.String() == b.String() })
}

// definition is a set without its elements.
func definition(s *nft.Set) *nft.Set {
	d := *s
	d.Elements = nil
	return &d
}

// describeElement is the element's text without what history decides.
func describeElement(s *nft.Set, e *nft.Element) string {
	if s.Key[len(s.Key)-1] == nft.Mark {
		frontend, _ := slotKey(s, e)
		return fmt.Sprintf("%x %s", frontend, e.Data.Text(s.Data))
	}
	return balancerClass.ReplaceAllString(e.Text(s), "goto $1")
}

// brokenInvariants checks the slots of each frontend: slot 0 is filled while
// there is any backend, at least half of the class's slots are, no slot is beyond
// the class, and no backend is in two.
func brokenInvariants(t *nft.Table) []string {
	var broken []string
	for verdicts, slots := range map[string]string{"services": "backends", "local-services": "local-backends"} {
		for _, family := range []string{"4", "6"} {
			v, s := t.Set(verdicts+family), t.Set(slots+family)
			if v == nil || s == nil {
				continue
			}
			broken = append(broken, brokenSlots(v, s)...)
		}
	}
	return broken
}

func brokenSlots(verdicts, slots *nft.Set) []string {
	filled := map[string]map[uint32]string{}
	for i := range slots.Elements {
		e := &slots.Elements[i]
		frontend, slot := slotKey(slots, e)
		if filled[string(frontend)] == nil {
			filled[string(frontend)] = map[uint32]string{}
		}
		filled[string(frontend)][slot] = e.Data.Text(slots.Data)
	}
	var broken []string
	for i := range verdicts.Elements {
		e := &verdicts.Elements[i]
		if problem := brokenFrontend(e.Verdict.String(), filled[string(e.Key.Bytes())]); problem != "" {
			broken = append(broken, fmt.Sprintf("%s: %s: %s", verdicts.Name, e.Text(verdicts), problem))
		}
		delete(filled, string(e.Key.Bytes()))
	}
	for frontend := range filled {
		broken = append(broken, fmt.Sprintf("%s: frontend %x has backends and no verdict", slots.Name, frontend))
	}
	return broken
}

func brokenFrontend(verdict string, slots map[uint32]string) string {
	m := balancerClass.FindStringSubmatch(verdict)
	if m == nil {
		return "the verdict leads to no balancer"
	}
	class, _ := strconv.Atoi(m[2])
	if len(slots) == 0 {
		return ""
	}
	if slots[0] == "" {
		return "slot 0 is empty"
	}
	if class > 1 && len(slots) < class/2 {
		return fmt.Sprintf("only %d slots are filled", len(slots))
	}
	backends := map[string]uint32{}
	for slot, backend := range slots {
		if other, twice := backends[backend]; twice {
			return fmt.Sprintf("%s is in the slots %d and %d", backend, slot, other)
		}
		if int(slot) >= class {
			return fmt.Sprintf("slot %d is beyond the class", slot)
		}
		backends[backend] = slot
	}
	return ""
}
