package simulation

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// place is a frontend's key, and a slot of it.
type place struct {
	model.FrontendKey
	slot uint32
}

func holdsSlots(set string) bool {
	return strings.HasPrefix(set, "backends") || strings.HasPrefix(set, "local-backends")
}

// holdsClasses reports whether a set's verdicts name the chain of a class.
func holdsClasses(set string) bool {
	return strings.HasPrefix(set, "services") || strings.HasPrefix(set, "local-services")
}

// frontendOf reads the key of a set whose keys begin with a frontend.
func frontendOf(s *nft.Set, v *nft.Value) place {
	is4, addr := s.Key[0] == nft.IPv4Addr, s.Key[0].Size()
	return place{
		FrontendKey: model.FrontendKey{
			Addr: v.AddrAt(0, is4), Protocol: model.Protocol(v.ProtocolAt(addr)), Port: v.PortAt(addr + 4),
		},
		slot: v.MarkAt(addr + 8),
	}
}

func backendOf(s *nft.Set, v *nft.Value) model.Backend {
	is4, addr := s.Data[0] == nft.IPv4Addr, s.Data[0].Size()
	return netip.AddrPortFrom(v.AddrAt(0, is4), v.PortAt(addr))
}

// compare says how a table that grew differs from one computed from nothing, a
// difference a line. They may differ in the slot of a backend, in the class of a
// frontend, and by chains that were needed once.
func compare(have, want *nft.Table) []string {
	if have == nil {
		return []string{"- there is no table"}
	}
	if have.Name != want.Name || have.Owned != want.Owned || have.Persist != want.Persist {
		return []string{"- the table has another name or other flags"}
	}
	lines := compareSets(have, want)
	lines = append(lines, compareChains(have, want)...)
	return append(lines, invariants(have)...)
}

// fact is an element without what may differ: the slot of a backend, and the
// class of a frontend.
type fact struct {
	set             string
	key, last, data nft.Value
	verdict         nft.Verdict
	comment         string
}

func factOf(s *nft.Set, e *nft.Element) fact {
	f := fact{s.Name, e.Key, last(e), e.Data, e.Verdict, e.Comment}
	if holdsSlots(s.Name) {
		at := frontendOf(s, &e.Key)
		f.key = nft.Value{}.Addr(at.Addr).Protocol(nft.Protocol(at.Protocol)).Port(at.Port)
		f.last = f.key
	}
	if holdsClasses(s.Name) {
		f.verdict.Chain, _, _ = cutClass(e.Verdict.Chain)
	}
	return f
}

func compareSets(have, want *nft.Table) []string {
	var lines []string
	for _, w := range want.Sets {
		if h := have.Set(w.Name); h == nil || !h.SameDefinition(w) {
			lines = append(lines, "+ want set "+w.Name+", which is not there or another")
		} else {
			lines = append(lines, compareElements(h, w)...)
		}
	}
	for _, h := range have.Sets {
		if want.Set(h.Name) == nil {
			lines = append(lines, "- have set "+h.Name)
		}
	}
	return lines
}

func compareElements(have, want *nft.Set) []string {
	left := make(map[fact]int, len(want.Elements))
	for i := range want.Elements {
		left[factOf(want, &want.Elements[i])]++
	}
	var lines []string
	for i := range have.Elements {
		f := factOf(have, &have.Elements[i])
		if left[f]--; left[f] < 0 {
			lines = append(lines, "- have "+have.Name+" { "+have.Elements[i].Text(have)+" }")
		}
	}
	for i := range want.Elements {
		f := factOf(want, &want.Elements[i])
		if left[f]--; left[f] >= 0 {
			lines = append(lines, "+ want "+want.Name+" { "+want.Elements[i].Text(want)+" }")
		}
	}
	slices.Sort(lines)
	return lines
}

// cutClass splits "lb4-8" into "lb4" and 8.
func cutClass(chain string) (kind string, class uint32, ok bool) {
	at := strings.LastIndexByte(chain, '-')
	if at < 0 {
		return chain, 0, false
	}
	n, err := strconv.ParseUint(chain[at+1:], 10, 32)
	return chain[:at], uint32(n), err == nil
}

// onDemand reports whether a chain is made when it is needed and then stays.
func onDemand(chain string) bool {
	_, _, numbered := cutClass(chain)
	return numbered || strings.HasPrefix(chain, "learn-") || strings.HasPrefix(chain, "firewall")
}

func compareChains(have, want *nft.Table) []string {
	var lines []string
	for _, w := range want.Chains {
		h := have.Chain(w.Name)
		switch {
		case h == nil && onDemand(w.Name): // another class will do; that it exists, the kernel checks
		case h == nil:
			lines = append(lines, "+ want chain "+w.Name)
		default:
			lines = append(lines, compareChain(h, w)...)
		}
	}
	for _, h := range have.Chains {
		if want.Chain(h.Name) == nil && !onDemand(h.Name) {
			lines = append(lines, "- have chain "+h.Name)
		}
	}
	return lines
}

func compareChain(have, want *nft.Chain) []string {
	if (have.Base == nil) != (want.Base == nil) || have.Base != nil && *have.Base != *want.Base {
		return []string{"- chain " + have.Name + " is hooked otherwise"}
	}
	var lines []string
	if !slices.EqualFunc(have.Rules, want.Rules, func(a, b nft.Rule) bool { return a.String() == b.String() }) {
		for _, r := range have.Rules {
			lines = append(lines, "- have "+have.Name+" "+r.String())
		}
		for _, r := range want.Rules {
			lines = append(lines, "+ want "+want.Name+" "+r.String())
		}
	}
	return lines
}

// pool is a frontend's class and slots in one of the two pairs of maps.
type pool struct {
	class uint32
	slots map[uint32]model.Backend
}

// poolName names the map of slots and the frontend.
type poolName struct {
	set string
	model.FrontendKey
}

func (n poolName) String() string { return n.set + " " + n.FrontendKey.String() }

// pools collects classes and slots.
func pools(elements iter.Seq2[*nft.Set, *nft.Element]) map[poolName]*pool {
	all := map[poolName]*pool{}
	of := func(set string, k model.FrontendKey) *pool {
		name := poolName{set, k}
		if all[name] == nil {
			all[name] = &pool{slots: map[uint32]model.Backend{}}
		}
		return all[name]
	}
	for s, e := range elements {
		switch {
		case holdsClasses(s.Name):
			slots := strings.Replace(s.Name, "services", "backends", 1)
			p := of(slots, frontendOf(s, &e.Key).FrontendKey)
			_, p.class, _ = cutClass(e.Verdict.Chain)
		case holdsSlots(s.Name):
			at := frontendOf(s, &e.Key)
			of(s.Name, at.FrontendKey).slots[at.slot] = backendOf(s, &e.Data)
		}
	}
	return all
}

func elementsOf(t *nft.Table) iter.Seq2[*nft.Set, *nft.Element] {
	return func(yield func(*nft.Set, *nft.Element) bool) {
		for _, s := range t.Sets {
			for i := range s.Elements {
				if !yield(s, &s.Elements[i]) {
					return
				}
			}
		}
	}
}

// invariants checks what ruleset.Slots promises.
func invariants(t *nft.Table) []string {
	var lines []string
	for name, p := range pools(elementsOf(t)) {
		if fault := p.fault(); fault != "" {
			lines = append(lines, fmt.Sprintf("! %s: %s: class %d, slots %v", name, fault, p.class, p.slots))
		}
	}
	slices.Sort(lines)
	return lines
}

func (p *pool) fault() string {
	seen := map[model.Backend]bool{}
	for slot, b := range p.slots {
		if slot >= p.class {
			return "a slot beyond the class"
		}
		if seen[b] {
			return "a backend in two slots"
		}
		seen[b] = true
	}
	switch {
	case len(p.slots) == 0:
		return ""
	case !p.slots[0].IsValid():
		return "slot 0 is empty"
	case p.class > 1 && 2*len(p.slots) < int(p.class):
		return "less than half of the slots are filled"
	}
	return ""
}

// emptied lists the frontends that have backends but none in slot 0, of those
// that a packet can find: it must not happen even between two transactions.
func emptied(elements iter.Seq2[*nft.Set, *nft.Element]) []string {
	var lines []string
	for name, p := range pools(elements) {
		if p.class > 0 && len(p.slots) > 0 && !p.slots[0].IsValid() {
			lines = append(lines, fmt.Sprintf("! %s: slot 0 is empty between transactions: %v", name, p.slots))
		}
	}
	slices.Sort(lines)
	return lines
}

// sizes counts elements for the figures.
func sizes(t *nft.Table) map[string]int {
	n := map[string]int{}
	for _, s := range t.Sets {
		n[s.Name] += len(s.Elements)
	}
	maps.DeleteFunc(n, func(_ string, count int) bool { return count == 0 })
	return n
}
