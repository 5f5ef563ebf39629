package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
)

// sameTables reports whether the table that is there does the same as one that
// was computed from nothing. Which slot a backend is in, and the class of a
// frontend, depend on what was there before, and need only hold the invariants.
// All else must be equal.
func sameTables(want, have *nft.Table) bool {
	return have != nil && maps.Equal(elementsOf(want), elementsOf(have)) &&
		sameStructure(want, have) && len(brokenInvariants(have)) == 0
}

// compareTables tells people how two tables differ that are not the same.
func compareTables(want, have *nft.Table) string {
	if have == nil {
		return "there is no table"
	}
	return cmp.Diff(describe(want, want), describe(have, want)) + strings.Join(brokenInvariants(have), "\n")
}

// content is an element of a set, without what history decides.
type content struct {
	set             string
	key, last, data nft.Value
	verdict         nft.Verdict
	comment         string
}

// elementsOf counts a table's elements.
func elementsOf(t *nft.Table) map[content]int {
	elements := map[content]int{}
	for _, s := range t.Sets {
		for i := range s.Elements {
			e := &s.Elements[i]
			c := content{set: s.Name, key: e.Key, last: e.KeyEnd, data: e.Data, verdict: e.Verdict, comment: e.Comment}
			if hasSlots(s) {
				frontend, _ := slotKey(s, e)
				c.key, _ = nft.ValueOf(frontend)
			}
			if kind, _, ok := cutClass(e.Verdict.Chain); ok {
				c.verdict.Chain = kind
			}
			elements[c]++
		}
	}
	return elements
}

// sameStructure reports whether two tables are equal but for their elements and
// for chains that are made on demand.
func sameStructure(want, have *nft.Table) bool {
	fixed := func(t *nft.Table) []*nft.Chain {
		return slices.DeleteFunc(slices.Clone(t.Chains), func(c *nft.Chain) bool { return onDemand(c.Name) })
	}
	sameSets := func(a, b *nft.Set) bool { return a.SameDefinition(b) }
	for _, c := range want.Chains {
		if there := have.Chain(c.Name); onDemand(c.Name) && there != nil && !sameChain(c, there) {
			return false
		}
	}
	return want.Name == have.Name && want.Owned == have.Owned && want.Persist == have.Persist &&
		slices.EqualFunc(want.Sets, have.Sets, sameSets) && slices.EqualFunc(fixed(want), fixed(have), sameChain)
}

func sameChain(a, b *nft.Chain) bool {
	sameBase := a.Base == b.Base || a.Base != nil && b.Base != nil && *a.Base == *b.Base
	return a.Name == b.Name && sameBase &&
		slices.EqualFunc(a.Rules, b.Rules, func(a, b nft.Rule) bool { return a.String() == b.String() })
}

// onDemand reports whether a chain is made when it is needed and then stays: with
// what leads to it it may be there or not.
func onDemand(chain string) bool {
	_, _, balancer := cutClass(chain)
	return balancer || strings.HasPrefix(chain, "learn-") || strings.HasPrefix(chain, "firewall")
}

// cutClass splits the name of a balancer, such as external-local-lb4-8, before the class.
func cutClass(chain string) (kind string, class int, ok bool) {
	at := strings.LastIndexByte(chain, '-')
	if at < 0 {
		return "", 0, false
	}
	kind = chain[:at]
	switch strings.TrimPrefix(strings.TrimPrefix(kind, "external-"), "local-") {
	case "lb4", "lb6", "affinity4", "affinity6":
		class, err := strconv.Atoi(chain[at+1:])
		return kind, class, err == nil
	}
	return "", 0, false
}

func hasSlots(s *nft.Set) bool { return s.Key[len(s.Key)-1] == nft.Mark }

// describe lists what is compared, for people.
func describe(t, computed *nft.Table) []string {
	lines := []string{fmt.Sprintf("table %s owned %t persist %t", t.Name, t.Owned, t.Persist)}
	for _, s := range t.Sets {
		definition := *s
		definition.Elements = nil
		lines = append(lines, fmt.Sprintf("set %+v", definition))
		for i := range s.Elements {
			lines = append(lines, s.Name+" "+describeElement(s, &s.Elements[i]))
		}
	}
	for _, c := range t.Chains {
		if onDemand(c.Name) && computed.Chain(c.Name) == nil {
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
	slices.Sort(lines)
	return lines
}

// describeElement is the element's text without what history decides.
func describeElement(s *nft.Set, e *nft.Element) string {
	switch kind, _, balancer := cutClass(e.Verdict.Chain); {
	case hasSlots(s):
		frontend, _ := slotKey(s, e)
		return fmt.Sprintf("%x %s", frontend, e.Data.Text(s.Data))
	case balancer:
		same := *e
		same.Verdict.Chain = kind
		return same.Text(s)
	}
	return e.Text(s)
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
	filled := map[string]map[uint32]nft.Value{}
	for i := range slots.Elements {
		e := &slots.Elements[i]
		frontend, slot := slotKey(slots, e)
		if filled[string(frontend)] == nil {
			filled[string(frontend)] = map[uint32]nft.Value{}
		}
		filled[string(frontend)][slot] = e.Data
	}
	var broken []string
	for i := range verdicts.Elements {
		e := &verdicts.Elements[i]
		if problem := brokenFrontend(e.Verdict.Chain, filled[string(e.Key.Bytes())]); problem != "" {
			broken = append(broken, fmt.Sprintf("%s: %s: %s", verdicts.Name, e.Text(verdicts), problem))
		}
		delete(filled, string(e.Key.Bytes()))
	}
	for frontend := range filled {
		broken = append(broken, fmt.Sprintf("%s: frontend %x has backends and no verdict", slots.Name, frontend))
	}
	return broken
}

func brokenFrontend(chain string, slots map[uint32]nft.Value) string {
	_, class, ok := cutClass(chain)
	if !ok {
		return "the verdict leads to no balancer"
	}
	if len(slots) == 0 {
		return ""
	}
	if _, ok := slots[0]; !ok {
		return "slot 0 is empty"
	}
	if class > 1 && len(slots) < class/2 {
		return fmt.Sprintf("only %d slots are filled", len(slots))
	}
	backends := map[nft.Value]uint32{}
	for slot, backend := range slots {
		if other, twice := backends[backend]; twice {
			return fmt.Sprintf("one backend is in the slots %d and %d", slot, other)
		}
		if int(slot) >= class {
			return fmt.Sprintf("slot %d is beyond the class", slot)
		}
		backends[backend] = slot
	}
	return ""
}
