// Package rulesettest compares tables for tests: one that grew, change by change,
// with one that was computed from nothing. Which slot a backend is in, and the class
// of a frontend, depend on what was there before, and need only hold what
// [ruleset.Slots] promises. All else must be equal.
package rulesettest

import (
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
)

// Compare says how a table that grew differs from one computed from nothing, a
// difference a line. They may differ in the slot of a backend, in the class of a
// frontend, and by chains that were needed once.
func Compare(have, want *nft.Table) []string {
	if have == nil {
		return []string{"- there is no table"}
	}
	if have.Name != want.Name || have.Owned != want.Owned || have.Persist != want.Persist || have.Dormant != want.Dormant {
		return []string{"- the table has another name or other flags"}
	}
	lines := compareSets(have, want)
	lines = append(lines, CompareChains(have, want)...)
	return append(lines, invariants(have)...)
}

// last is the last key of an element's interval.
func last(e *nft.Element) nft.Value {
	if e.KeyEnd.IsZero() {
		return e.Key
	}
	return e.KeyEnd
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
	if HoldsSlots(s.Name) {
		at := FrontendOf(s, &e.Key)
		f.key = nft.Value{}.Addr(at.Addr).Protocol(nft.Protocol(at.Protocol)).Port(at.Port)
		f.last = f.key
	}
	if holdsClasses(s.Name) {
		f.verdict.Chain, _, _ = CutClass(e.Verdict.Chain)
	}
	return f
}

func compareSets(have, want *nft.Table) []string {
	var lines []string
	for _, w := range want.Sets {
		if h := have.Set(w.Name); h == nil || !h.SameDefinition(w) {
			lines = append(lines, "+ want set "+w.Name+", which is not there or another")
		} else if !w.Dynamic { // whose elements are the kernel's
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

// CompareChains is Compare for the chains alone.
func CompareChains(have, want *nft.Table) []string {
	var lines []string
	for _, w := range want.Chains {
		h := have.Chain(w.Name)
		switch {
		case h == nil && OnDemand(w.Name): // another class will do; that it exists, the kernel checks
		case h == nil:
			lines = append(lines, "+ want chain "+w.Name)
		default:
			lines = append(lines, compareChain(h, w)...)
		}
	}
	for _, h := range have.Chains {
		if want.Chain(h.Name) == nil && !OnDemand(h.Name) {
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
