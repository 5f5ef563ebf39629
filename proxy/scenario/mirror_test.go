package scenario

import (
	"fmt"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
)

// mirror follows the transactions that a kernel has taken: the table as it must
// be there. Elements of dynamic sets belong to the packet path and are left out.
type mirror struct{ table *nft.Table }

// apply takes a committed transaction over.
func (m *mirror) apply(tx *nft.Transaction) error {
	for _, op := range tx.Operations() {
		if err := m.operation(tx.Table, &op); err != nil {
			return fmt.Errorf("%s: %w", op.Kind, err)
		}
	}
	return nil
}

func (m *mirror) operation(head *nft.Table, op *nft.Operation) error {
	switch op.Kind {
	case nft.AddTable:
		if m.table == nil {
			m.table = &nft.Table{Name: head.Name, Owned: head.Owned, Persist: head.Persist}
		}
		return nil
	case nft.DeleteTable:
		m.table = nil
		return nil
	}
	if m.table == nil {
		return fmt.Errorf("there is no table %s", head.Name)
	}
	switch op.Kind {
	case nft.AddSet, nft.DeleteSet:
		return m.changeSet(op)
	case nft.AddElements, nft.DeleteElements, nft.DestroyElements:
		return m.changeElements(op)
	}
	return m.changeChain(op)
}

func (m *mirror) changeSet(op *nft.Operation) error {
	if op.Kind == nft.AddSet {
		added := *op.Set
		added.Elements = nil
		m.table.Sets = append(m.table.Sets, &added)
		return nil
	}
	m.table.Sets = slices.DeleteFunc(m.table.Sets, func(s *nft.Set) bool { return s.Name == op.Set.Name })
	return nil
}

func (m *mirror) changeElements(op *nft.Operation) error {
	set := m.table.Set(op.Set.Name)
	if set == nil {
		return fmt.Errorf("there is no set %s", op.Set.Name)
	}
	if set.Dynamic {
		return nil
	}
	for i := range op.Elements {
		e := &op.Elements[i]
		at := slices.IndexFunc(set.Elements, func(o nft.Element) bool { return sameKey(e, &o) })
		switch {
		case op.Kind == nft.AddElements && at >= 0:
			return fmt.Errorf("%s has %s already", set.Name, e.Text(set))
		case op.Kind == nft.AddElements:
			set.Elements = append(set.Elements, *e)
		case at < 0:
			return fmt.Errorf("%s does not have %s", set.Name, e.Key.Text(set.Key))
		default:
			set.Elements = slices.Delete(set.Elements, at, at+1)
		}
	}
	return nil
}

func sameKey(a, b *nft.Element) bool {
	last := func(e *nft.Element) nft.Value {
		if e.KeyEnd.IsZero() {
			return e.Key
		}
		return e.KeyEnd
	}
	return a.Key == b.Key && last(a) == last(b)
}

func (m *mirror) changeChain(op *nft.Operation) error {
	chain := m.table.Chain(op.Chain.Name)
	switch {
	case op.Kind == nft.AddChain && chain == nil:
		m.table.Chains = append(m.table.Chains, &nft.Chain{Name: op.Chain.Name, Base: op.Chain.Base})
	case chain == nil:
		return fmt.Errorf("there is no chain %s", op.Chain.Name)
	case op.Kind == nft.AddRule:
		chain.Rules = append(chain.Rules, op.Rule)
	case op.Kind == nft.FlushChain:
		chain.Rules = nil
	case op.Kind == nft.DeleteChain:
		m.table.Chains = slices.DeleteFunc(m.table.Chains, func(c *nft.Chain) bool { return c == chain })
	}
	return nil
}

// clone copies the table, for a reader beside the one who applies.
func (m *mirror) clone() *nft.Table {
	if m.table == nil {
		return nil
	}
	t := *m.table
	t.Sets, t.Chains = slices.Clone(t.Sets), slices.Clone(t.Chains)
	for i, s := range t.Sets {
		copied := *s
		copied.Elements = slices.Clone(s.Elements)
		t.Sets[i] = &copied
	}
	for i, c := range t.Chains {
		copied := *c
		copied.Rules = slices.Clone(c.Rules)
		t.Chains[i] = &copied
	}
	return &t
}
