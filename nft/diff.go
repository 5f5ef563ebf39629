package nft

import "slices"

// Diff is the transaction that turns the table have into want. A nil have is a
// table that does not exist. Elements of dynamic sets belong to the packet path
// and are left alone.
//
// Chains are compared rule by rule, and all rules of one that differs are
// replaced. Where flags, a set's definition or a base chain's hook differ, the
// table is replaced whole. An owned table whose owner is gone is claimed as it is.
func Diff(have, want *Table) *Transaction {
	tx := NewTransaction(want)
	switch {
	case have == nil:
		tx.CreateTable()
		have = &Table{}
	case !sameFlags(have, want) || anyRedefined(have, want):
		tx.ReplaceTable()
		have = &Table{}
	case have.isOrphan() && want.Owned:
		tx.ClaimTable()
	}
	diffSets(tx, have, want)
	diffChains(tx, have, want)
	return tx
}

// sameFlags reports whether the table can stay. The kernel takes the flag owner
// off an orphan, and gives it back to whoever claims it.
func sameFlags(have, want *Table) bool {
	owned := have.Owned == want.Owned || have.isOrphan()
	return owned && have.Persist == want.Persist && !have.Dormant
}

// anyRedefined reports whether a set or base chain would have to be deleted and
// added under the same name. The kernel can do neither in one transaction while
// rules or verdicts refer to it.
func anyRedefined(have, want *Table) bool {
	return slices.ContainsFunc(want.Sets, func(w *Set) bool {
		h := have.Set(w.Name)
		return h != nil && !h.SameDefinition(w)
	}) || slices.ContainsFunc(want.Chains, func(w *Chain) bool {
		h := have.Chain(w.Name)
		return h != nil && !sameBase(h.Base, w.Base)
	})
}

func sameBase(a, b *Base) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func diffSets(tx *Transaction, have, want *Table) {
	for _, w := range want.Sets {
		if h := have.Set(w.Name); h == nil {
			tx.AddSet(w)
		} else if !w.Dynamic {
			diffElements(tx, w, h.Elements)
		}
	}
	for _, h := range have.Sets {
		if want.Set(h.Name) == nil {
			tx.DeleteSet(h)
		}
	}
}

// elementID is what makes an element one of its set: the key, and in a set of
// intervals the end.
type elementID struct{ key, last Value }

func (e *Element) id() elementID { return elementID{e.Key, e.lastKey()} }

func diffElements(tx *Transaction, want *Set, have []Element) {
	wanted := make(map[elementID]*Element, len(want.Elements))
	for i := range want.Elements {
		wanted[want.Elements[i].id()] = &want.Elements[i]
	}
	for i := range have {
		h := &have[i]
		w, ok := wanted[h.id()]
		switch {
		case !ok:
			tx.DeleteElements(want, Element{Key: h.Key, KeyEnd: h.KeyEnd})
		case !h.SameContent(w):
			tx.ReplaceElement(want, *w)
		}
		delete(wanted, h.id())
	}
	for i := range want.Elements {
		if w := &want.Elements[i]; wanted[w.id()] != nil {
			tx.AddElements(want, *w)
		}
	}
}

func diffChains(tx *Transaction, have, want *Table) {
	for _, w := range want.Chains {
		h := have.Chain(w.Name)
		switch {
		case h == nil:
			tx.AddChain(w)
		case !slices.EqualFunc(h.Rules, w.Rules, SameRule):
			tx.ReplaceRules(w)
		}
	}
	for _, h := range have.Chains {
		if want.Chain(h.Name) == nil {
			tx.DeleteChain(h)
		}
	}
}
