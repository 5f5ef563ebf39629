package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// memory is a kernel that holds one table in maps. It refuses what nf_tables
// refuses, with the same error numbers, and beyond that what nf_tables bears but
// kube-vmap promises not to do:
//
//   - to add what is there with the same content, which the kernel ignores;
//   - to delete and add one key in one transaction, for the moment in which a
//     lookup finds neither, except where rules look twice (verdicts) and where
//     there is no other way (slot 0, and prefixes that grow or shrink).
type memory struct {
	table      *memoryTable // nil: none
	generation uint32
	undo       []func() // of the transaction in progress
}

type memoryTable struct {
	name           string
	owned, persist bool
	sets           map[string]*memorySet
	chains         map[string]*nft.Chain // with rules
}

type memorySet struct {
	definition *nft.Set
	elements   map[nft.Value]nft.Element
}

// refusal is an error of one operation.
func refusal(errno unix.Errno, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errno)
}

// Commit applies a transaction as a whole or not at all.
func (m *memory) Commit(tx *nft.Transaction) (kernel.Result, error) {
	m.undo = m.undo[:0]
	ops := tx.Operations()
	err := checkPromises(tx, ops)
	for i := 0; i < len(ops) && err == nil; i++ {
		if tx.ReplacesTable() && i == 0 && m.table != nil {
			continue // makes sure that there is one to delete, whatever its flags
		}
		err = m.apply(tx.Table, &ops[i])
	}
	if err != nil {
		for _, undo := range slices.Backward(m.undo) {
			undo()
		}
		return kernel.Result{}, err
	}
	m.generation++
	return kernel.Result{Generation: m.generation, Operations: len(ops)}, nil
}

// checkPromises refuses transactions that delete and add one key where a lookup
// must not miss.
func checkPromises(tx *nft.Transaction, ops []nft.Operation) error {
	if tx.IsEmpty() {
		return refusal(unix.EINVAL, "commit of an empty transaction")
	}
	type place struct {
		set string
		key nft.Value
	}
	deleted := map[place]bool{}
	for _, kind := range []nft.OperationKind{nft.DeleteElements, nft.AddElements} {
		for i := range ops {
			if ops[i].Kind != kind {
				continue
			}
			for j := range ops[i].Elements {
				e := &ops[i].Elements[j]
				at := place{ops[i].Set.Name, e.Key}
				switch {
				case kind == nft.DeleteElements:
					deleted[at] = true
				case deleted[at] && !mayReplace(ops[i].Set, e):
					return refusal(unix.EINVAL, "%s { %s } is deleted and added in one transaction", at.set, e.Text(ops[i].Set))
				}
			}
		}
	}
	return nil
}

func mayReplace(s *nft.Set, e *nft.Element) bool {
	if rulesettest.HoldsSlots(s.Name) {
		return rulesettest.FrontendOf(s, &e.Key).Slot == 0
	}
	return s.IsVerdictMap() || s.Interval
}

func (m *memory) apply(t *nft.Table, op *nft.Operation) error {
	switch op.Kind {
	case nft.AddTable:
		return m.addTable(t)
	case nft.DeleteTable:
		if m.table == nil {
			return refusal(unix.ENOENT, "delete table")
		}
		was := m.table
		m.table = nil
		m.undone(func() { m.table = was })
		return nil
	}
	if m.table == nil || m.table.name != t.Name {
		return refusal(unix.ENOENT, "%s: no table %s", op.Kind, t.Name)
	}
	switch {
	case op.Kind == nft.AddSet || op.Kind == nft.DeleteSet:
		return m.applySet(op)
	case op.Kind.IsOfElements():
		return m.applyElements(op)
	}
	return m.applyChain(op)
}

func (m *memory) undone(f func()) { m.undo = append(m.undo, f) }

func (m *memory) addTable(t *nft.Table) error {
	if m.table != nil {
		if m.table.name != t.Name || m.table.owned != t.Owned || m.table.persist != t.Persist {
			return refusal(unix.EOPNOTSUPP, "add table %s: it is there with other flags", t.Name)
		}
		return nil
	}
	m.table = &memoryTable{
		name: t.Name, owned: t.Owned, persist: t.Persist,
		sets: map[string]*memorySet{}, chains: map[string]*nft.Chain{},
	}
	m.undone(func() { m.table = nil })
	return nil
}

func (m *memory) applySet(op *nft.Operation) error {
	t, name := m.table, op.Set.Name
	was := t.sets[name]
	m.undone(func() { restore(t.sets, name, was) })
	switch {
	case op.Kind == nft.AddSet && was != nil:
		return refusal(unix.EEXIST, "add set %s", name)
	case op.Kind == nft.AddSet:
		definition := *op.Set
		definition.Elements = nil
		t.sets[name] = &memorySet{&definition, map[nft.Value]nft.Element{}}
		return nil
	case was == nil:
		return refusal(unix.ENOENT, "delete set %s", name)
	}
	for _, c := range t.chains {
		for _, r := range c.Rules {
			if references(r).sets[name] {
				return refusal(unix.EBUSY, "delete set %s: chain %s has the rule %s", name, c.Name, r)
			}
		}
	}
	delete(t.sets, name)
	return nil
}

func restore[V any](m map[string]*V, key string, was *V) {
	if was == nil {
		delete(m, key)
	} else {
		m[key] = was
	}
}

func (m *memory) applyChain(op *nft.Operation) error {
	t, name := m.table, op.Chain.Name
	was := t.chains[name]
	m.undone(func() { restore(t.chains, name, was) })
	if op.Kind == nft.AddChain {
		if was != nil {
			return refusal(unix.EEXIST, "add chain %s", name)
		}
		t.chains[name] = &nft.Chain{Name: name, Base: op.Chain.Base}
		return nil
	}
	if was == nil {
		return refusal(unix.ENOENT, "%s %s", op.Kind, name)
	}
	switch op.Kind {
	case nft.FlushChain:
		t.chains[name] = &nft.Chain{Name: name, Base: was.Base}
	case nft.AddRule:
		refs := references(op.Rule)
		for set := range refs.sets {
			if t.sets[set] == nil {
				return refusal(unix.ENOENT, "add rule %s: no set %s", op.Rule, set)
			}
		}
		for chain := range refs.chains {
			if t.chains[chain] == nil {
				return refusal(unix.ENOENT, "add rule %s: no chain %s", op.Rule, chain)
			}
		}
		t.chains[name] = &nft.Chain{Name: name, Base: was.Base, Rules: append(slices.Clip(was.Rules), op.Rule)}
	case nft.DeleteChain:
		if user, used := t.userOf(name); used {
			return refusal(unix.EBUSY, "delete chain %s: %s leads to it", name, user)
		}
		delete(t.chains, name)
	}
	return nil
}

// userOf finds something that leads to the chain.
func (t *memoryTable) userOf(chain string) (string, bool) {
	for _, c := range t.chains {
		for _, r := range c.Rules {
			if references(r).chains[chain] {
				return fmt.Sprintf("chain %s, rule %s,", c.Name, r), true
			}
		}
	}
	for _, s := range t.sets {
		for _, e := range s.elements {
			if e.Verdict.Chain == chain {
				return fmt.Sprintf("%s { %s }", s.definition.Name, e.Text(s.definition)), true
			}
		}
	}
	return "", false
}

// ruleReferences are the names in a rule.
type ruleReferences struct{ sets, chains map[string]bool }

// references reads the names from the rule's text: "@set", "jump chain", "goto chain".
func references(r nft.Rule) ruleReferences {
	refs := ruleReferences{map[string]bool{}, map[string]bool{}}
	words := strings.Fields(r.String())
	for i, w := range words {
		if set, ok := strings.CutPrefix(w, "@"); ok {
			refs.sets[set] = true
		}
		if i > 0 && (words[i-1] == "jump" || words[i-1] == "goto") {
			refs.chains[w] = true
		}
	}
	return refs
}

func (m *memory) applyElements(op *nft.Operation) error {
	s := m.table.sets[op.Set.Name]
	if s == nil {
		return refusal(unix.ENOENT, "%s: no set %s", op.Kind, op.Set.Name)
	}
	if !s.definition.SameDefinition(op.Set) {
		return refusal(unix.EINVAL, "%s: set %s has another definition", op.Kind, op.Set.Name)
	}
	for i := range op.Elements {
		e := op.Elements[i]
		was, found := s.elements[e.Key]
		m.undone(func() {
			if found {
				s.elements[e.Key] = was
			} else {
				delete(s.elements, e.Key)
			}
		})
		var err error
		switch {
		case op.Kind == nft.AddElements:
			err = m.addElement(s, e)
		case op.Kind == nft.DeleteElements || found:
			err = s.deleteElement(e, &was, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *memorySet) deleteElement(e nft.Element, was *nft.Element, found bool) error {
	if e.Key.IsZero() {
		return refusal(unix.EINVAL, "delete element without a key from %s: the kernel would delete all", s.definition.Name)
	}
	if !found || last(&e) != last(was) {
		return refusal(unix.ENOENT, "delete element %s { %s }", s.definition.Name, e.Text(s.definition))
	}
	delete(s.elements, e.Key)
	return nil
}

func (m *memory) addElement(s *memorySet, e nft.Element) error {
	d := s.definition
	if fault := s.fault(&e); fault != "" {
		return refusal(unix.EINVAL, "add element to %s: %s", d.Name, fault)
	}
	if _, found := s.elements[e.Key]; found {
		return refusal(unix.EEXIST, "add element %s { %s }", d.Name, e.Text(d))
	}
	if d.Interval {
		for _, other := range s.elements {
			if overlap(d.Key, &e, &other) {
				return refusal(unix.EEXIST, "add element %s { %s }: overlaps %s", d.Name, e.Text(d), other.Text(d))
			}
		}
	}
	if c := e.Verdict.Chain; c != "" && m.table.chains[c] == nil {
		return refusal(unix.ENOENT, "add element %s { %s }: no such chain", d.Name, e.Text(d))
	}
	if d.Size > 0 && len(s.elements) >= int(d.Size) {
		return refusal(unix.ENFILE, "add element to %s", d.Name)
	}
	s.elements[e.Key] = e
	return nil
}

// fault says what is wrong with an element's form, "" if nothing is.
func (s *memorySet) fault(e *nft.Element) string {
	d := s.definition
	switch {
	case e.Key.Len() != padded(d.Key):
		return fmt.Sprintf("a key of %d bytes for %s", e.Key.Len(), d.Key)
	case !e.KeyEnd.IsZero() && (!d.Interval || e.KeyEnd.Len() != e.Key.Len()):
		return "an interval that does not fit"
	case d.IsMap() && e.Data.Len() != padded(d.Data):
		return fmt.Sprintf("data of %d bytes for %s", e.Data.Len(), d.Data)
	case !d.IsMap() && !e.Data.IsZero():
		return "data in a set without"
	case d.IsVerdictMap() == (e.Verdict == nft.Verdict{}):
		return "a verdict where none belongs, or none where one does"
	case len(e.Comment) > nft.MaxComment || strings.ContainsAny(e.Comment, "\"\n\x00"):
		return fmt.Sprintf("a bad comment %q", e.Comment)
	}
	return ""
}

func padded(ts nft.Types) int {
	n := 0
	for _, t := range ts {
		n += (t.Size() + 3) &^ 3
	}
	return n
}

// last is the last key of an element's interval.
func last(e *nft.Element) nft.Value {
	if e.KeyEnd.IsZero() {
		return e.Key
	}
	return e.KeyEnd
}

// overlap reports whether two intervals have a key in common: in each field.
func overlap(ts nft.Types, a, b *nft.Element) bool {
	aLast, bLast := last(a), last(b)
	off := 0
	for _, t := range ts {
		field := func(v *nft.Value) string { return string(v.Bytes()[off : off+t.Size()]) }
		if field(&aLast) < field(&b.Key) || field(&bLast) < field(&a.Key) {
			return false
		}
		off += (t.Size() + 3) &^ 3
	}
	return true
}

// ReadStructure reads the table as the kernel gives it: rules as bytecode.
func (m *memory) ReadStructure(table string, withElements func(set string) bool) (kernel.Snapshot, error) {
	snapshot := kernel.Snapshot{Generation: m.generation}
	if m.table == nil || m.table.name != table {
		return snapshot, nil
	}
	t := m.copy()
	for _, s := range t.Sets {
		s.LoadTypeof = ""
		if !withElements(s.Name) {
			s.Elements = nil
		}
	}
	for _, c := range t.Chains {
		for i, r := range c.Rules {
			c.Rules[i] = nft.Rule{ReadBytecode: r.Bytecode()}
		}
	}
	snapshot.Table = t
	return snapshot, nil
}

// ReadSet reads the elements of a set, in no order.
func (m *memory) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (uint32, error) {
	if m.table == nil || m.table.name != table || m.table.sets[set.Name] == nil {
		return 0, refusal(unix.ENOENT, "read set %s", set.Name)
	}
	for _, e := range m.table.sets[set.Name].elements {
		if err := visit(&e); err != nil {
			return 0, err
		}
	}
	return m.generation, nil
}

// copy is the table as a value, with all it holds, in a stable order; nil if
// there is none.
func (m *memory) copy() *nft.Table {
	if m.table == nil {
		return nil
	}
	t := &nft.Table{Name: m.table.name, Owned: m.table.owned, Persist: m.table.persist}
	for _, name := range slices.Sorted(maps.Keys(m.table.sets)) {
		s := *m.table.sets[name].definition
		s.Elements = slices.Collect(maps.Values(m.table.sets[name].elements))
		slices.SortFunc(s.Elements, func(a, b nft.Element) int { return strings.Compare(string(a.Key.Bytes()), string(b.Key.Bytes())) })
		t.Sets = append(t.Sets, &s)
	}
	for _, name := range slices.Sorted(maps.Keys(m.table.chains)) {
		c := *m.table.chains[name]
		c.Rules = slices.Clone(c.Rules)
		t.Chains = append(t.Chains, &c)
	}
	return t
}

// elements are all elements, in no order.
func (m *memory) elements(yield func(*nft.Set, *nft.Element) bool) {
	for _, s := range m.table.sets {
		for _, e := range s.elements {
			if !yield(s.definition, &e) {
				return
			}
		}
	}
}
