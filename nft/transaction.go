package nft

import (
	"fmt"
	"iter"
	"slices"
)

// OperationKind is what one operation of a transaction does.
type OperationKind uint8

// The kinds of operations.
const (
	AddTable OperationKind = iota
	DeleteTable
	AddSet
	DeleteSet
	AddChain
	DeleteChain
	FlushChain // delete all rules of a chain
	AddRule    // append a rule to a chain
	AddElements
	DeleteElements
	DestroyElements // delete those that are there (kernel 6.3; before, all must be)
)

func (k OperationKind) String() string {
	return [...]string{
		"add table", "delete table", "add set", "delete set", "add chain", "delete chain",
		"flush chain", "add rule", "add element", "delete element", "destroy element",
	}[k]
}

// IsOfElements reports whether the operation is one on elements.
func (k OperationKind) IsOfElements() bool { return k >= AddElements }

// Operation is one step of a transaction. Which fields mean something depends
// on its kind.
type Operation struct {
	Kind     OperationKind
	Set      *Set      // of set and element operations; its own Elements are ignored
	Chain    *Chain    // of chain and rule operations; its own Rules are ignored
	Rule     Rule      // of AddRule
	Elements []Element // of element operations
}

// Transaction is a set of changes to one table that the kernel applies as a
// whole or not at all. Changes are collected in any order; Operations puts them
// into the order in which they are sent.
type Transaction struct {
	Table *Table // name and flags; what it holds is ignored

	replaceTable bool
	create       bool
	claim        bool
	deleteTable  bool

	addSets, deleteSets     []*Set
	addChains, deleteChains []*Chain
	flushChains             []*Chain
	addRules                []Operation
	destroys                []Operation
	elements                []setChange
}

// setChange is what happens to the elements of one set.
type setChange struct {
	set          *Set
	deletesFirst []Element
	adds         []Element
	deletesLast  []Element
}

// NewTransaction begins an empty transaction on a table.
func NewTransaction(t *Table) *Transaction { return &Transaction{Table: t} }

// CreateTable adds the table. It is not an error if it exists with the same flags.
func (tx *Transaction) CreateTable() { tx.create = true }

// ClaimTable makes an owned table, whose owner is gone, that of the socket which
// commits the transaction.
func (tx *Transaction) ClaimTable() { tx.create, tx.claim = true, true }

// ClaimsTable reports whether a table that is there gets another owner.
func (tx *Transaction) ClaimsTable() bool { return tx.claim && !tx.replaceTable }

// ReplaceTable deletes the table with all it holds, whether or not it exists,
// and adds it empty.
func (tx *Transaction) ReplaceTable() { tx.create, tx.replaceTable = true, true }

// ReplacesTable reports whether the table's present content goes.
func (tx *Transaction) ReplacesTable() bool { return tx.replaceTable }

// DeleteTable deletes the table with all it holds.
func (tx *Transaction) DeleteTable() { tx.deleteTable = true }

// AddSet adds a set or map and its elements.
func (tx *Transaction) AddSet(s *Set) {
	tx.addSets = append(tx.addSets, s)
	tx.AddElements(s, s.Elements...)
}

// DeleteSet deletes a set or map with its elements. No rule may use it when the
// transaction ends.
func (tx *Transaction) DeleteSet(s *Set) { tx.deleteSets = append(tx.deleteSets, s) }

// AddChain adds a chain and its rules.
func (tx *Transaction) AddChain(c *Chain) {
	tx.addChains = append(tx.addChains, c)
	tx.addRulesOf(c)
}

// ReplaceRules replaces all rules of a chain by those of c.
func (tx *Transaction) ReplaceRules(c *Chain) {
	tx.flushChains = append(tx.flushChains, c)
	tx.addRulesOf(c)
}

func (tx *Transaction) addRulesOf(c *Chain) {
	for _, r := range c.Rules {
		tx.addRules = append(tx.addRules, Operation{Kind: AddRule, Chain: c, Rule: r})
	}
}

// DeleteChain deletes a chain with its rules. Nothing may lead to it when the
// transaction ends.
func (tx *Transaction) DeleteChain(c *Chain) { tx.deleteChains = append(tx.deleteChains, c) }

// AddElements adds elements with keys that the set does not have.
func (tx *Transaction) AddElements(s *Set, elements ...Element) {
	if len(elements) > 0 {
		ch := tx.change(s)
		if cap(ch.adds)-len(ch.adds) < len(elements) { // append grows by a quarter: more copies
			ch.adds = slices.Grow(ch.adds, max(len(elements), len(ch.adds)))
		}
		ch.adds = append(ch.adds, elements...)
	}
}

// DeleteElements deletes elements by their keys.
func (tx *Transaction) DeleteElements(s *Set, elements ...Element) {
	switch {
	case len(elements) == 0:
	case s.Interval: // an interval to come may overlap one that goes
		tx.DeleteElementsFirst(s, elements...)
	default:
		ch := tx.change(s)
		ch.deletesLast = append(ch.deletesLast, elements...)
	}
}

// DeleteElementsFirst deletes elements by their keys before anything is added:
// for keys that come back in the same transaction.
func (tx *Transaction) DeleteElementsFirst(s *Set, elements ...Element) {
	if len(elements) > 0 {
		ch := tx.change(s)
		ch.deletesFirst = append(ch.deletesFirst, elements...)
	}
}

// DestroyElements deletes elements by their keys, before anything is added. They
// may be gone already: a dynamic set's elements expire at any time.
func (tx *Transaction) DestroyElements(s *Set, elements ...Element) {
	if len(elements) > 0 {
		tx.destroys = append(tx.destroys, Operation{Kind: DestroyElements, Set: s, Elements: elements})
	}
}

// ReplaceElement gives the key of e a new content. The kernel can't change an
// element in place: for some tens of nanoseconds of the commit a lookup may find
// neither the old nor the new one, so rules that must not miss look twice.
func (tx *Transaction) ReplaceElement(s *Set, e Element) {
	tx.DeleteElementsFirst(s, Element{Key: e.Key, KeyEnd: e.KeyEnd})
	tx.AddElements(s, e)
}

// Recounted are the elements that the kernel will count from zero although it may
// have counted for their keys before: in sets with counters those that are
// replaced, and all if the table is. Give them the counts that they had.
func (tx *Transaction) Recounted() iter.Seq2[*Set, *Element] {
	return func(yield func(*Set, *Element) bool) {
		for i := range tx.elements {
			ch := &tx.elements[i]
			if !ch.set.Counters || !tx.replaceTable && len(ch.deletesFirst) == 0 {
				continue
			}
			replaced := make(map[Value]struct{}, len(ch.deletesFirst))
			for j := range ch.deletesFirst {
				replaced[ch.deletesFirst[j].Key] = struct{}{}
			}
			for j := range ch.adds {
				_, isReplaced := replaced[ch.adds[j].Key]
				if (isReplaced || tx.replaceTable) && !yield(ch.set, &ch.adds[j]) {
					return
				}
			}
		}
	}
}

func (tx *Transaction) change(s *Set) *setChange {
	for i := range tx.elements {
		if tx.elements[i].set == s {
			return &tx.elements[i]
		}
	}
	tx.elements = append(tx.elements, setChange{set: s})
	return &tx.elements[len(tx.elements)-1]
}

// IsEmpty reports whether the transaction changes nothing.
func (tx *Transaction) IsEmpty() bool {
	return !tx.create && !tx.deleteTable && !tx.replaceTable &&
		len(tx.addSets)+len(tx.deleteSets)+len(tx.addChains)+len(tx.deleteChains)+
			len(tx.flushChains)+len(tx.addRules)+tx.ElementCount() == 0
}

// ElementCount is the number of element operations.
func (tx *Transaction) ElementCount() int {
	n := 0
	for i := range tx.destroys {
		n += len(tx.destroys[i].Elements)
	}
	for i := range tx.elements {
		ch := &tx.elements[i]
		n += len(ch.deletesFirst) + len(ch.adds) + len(ch.deletesLast)
	}
	return n
}

// Operations are the transaction's steps in the order in which the kernel must
// get them:
//
//  1. The table.
//  2. Deletes of elements that may be gone, of those whose key comes back with
//     another content, and of intervals: before the adds, since the kernel refuses a key (or an
//     overlapping interval) that is there.
//  3. Old rules, then sets and chains, then rules: a rule names sets and chains,
//     an element's verdict names a chain, and both must exist by then.
//  4. Adds of elements, values before verdicts: a batch that has to be cut in
//     two leads packets to a backend only once it is there.
//  5. The other deletes, behind the adds: what replaces them is active before
//     they go (the kernel commits operations in their order).
//  6. What goes, when nothing leads to it any more: the rules of chains, then
//     sets, which rules use, then chains, which verdicts in sets lead to.
func (tx *Transaction) Operations() []Operation {
	var ops []Operation
	if tx.replaceTable {
		ops = append(ops, Operation{Kind: AddTable}, Operation{Kind: DeleteTable})
	}
	if tx.create {
		ops = append(ops, Operation{Kind: AddTable})
	}
	ops = append(ops, tx.destroys...)
	ops = tx.appendElements(ops, DeleteElements, func(c *setChange) []Element { return c.deletesFirst })
	for _, c := range tx.flushChains {
		ops = append(ops, Operation{Kind: FlushChain, Chain: c})
	}
	for _, s := range tx.addSets {
		ops = append(ops, Operation{Kind: AddSet, Set: s})
	}
	for _, c := range tx.addChains {
		ops = append(ops, Operation{Kind: AddChain, Chain: c})
	}
	ops = append(ops, tx.addRules...)
	slices.SortStableFunc(tx.elements, func(a, b setChange) int { return verdictsLast(a.set) - verdictsLast(b.set) })
	ops = tx.appendElements(ops, AddElements, func(c *setChange) []Element { return c.adds })
	ops = tx.appendElements(ops, DeleteElements, func(c *setChange) []Element { return c.deletesLast })
	for _, c := range tx.deleteChains {
		ops = append(ops, Operation{Kind: FlushChain, Chain: c})
	}
	for _, s := range tx.deleteSets {
		ops = append(ops, Operation{Kind: DeleteSet, Set: s})
	}
	for _, c := range tx.deleteChains {
		ops = append(ops, Operation{Kind: DeleteChain, Chain: c})
	}
	if tx.deleteTable {
		ops = append(ops, Operation{Kind: DeleteTable})
	}
	return ops
}

func verdictsLast(s *Set) int {
	if s.IsVerdictMap() {
		return 1
	}
	return 0
}

func (tx *Transaction) appendElements(ops []Operation, kind OperationKind, of func(*setChange) []Element) []Operation {
	for i := range tx.elements {
		if elements := of(&tx.elements[i]); len(elements) > 0 {
			ops = append(ops, Operation{Kind: kind, Set: tx.elements[i].set, Elements: elements})
		}
	}
	return ops
}

// Lines prints the transaction as the nft commands that would do the same, one
// operation or element a line, in order.
func (tx *Transaction) Lines() []string {
	var lines []string
	for _, op := range tx.Operations() {
		lines = append(lines, op.lines(tx.Table.Name)...)
	}
	return lines
}

func (op *Operation) lines(table string) []string {
	head := fmt.Sprintf("%s inet %s", op.Kind, table)
	switch op.Kind {
	case AddTable, DeleteTable:
		return []string{head}
	case AddSet, DeleteSet:
		return []string{head + " " + op.Set.Name}
	case AddChain, DeleteChain, FlushChain:
		return []string{head + " " + op.Chain.Name}
	case AddRule:
		return []string{head + " " + op.Chain.Name + " " + op.Rule.String()}
	}
	lines := make([]string, len(op.Elements))
	for i := range op.Elements {
		e := &op.Elements[i]
		text := e.keyText(op.Set)
		if op.Kind == AddElements {
			text = e.Text(op.Set)
		}
		lines[i] = fmt.Sprintf("%s %s { %s }", head, op.Set.Name, text)
	}
	return lines
}

// ElementChanges is by how many elements each set grows, or shrinks, by adds and
// deletes.
func (tx *Transaction) ElementChanges() iter.Seq2[*Set, int] {
	return func(yield func(*Set, int) bool) {
		for i := range tx.elements {
			ch := &tx.elements[i]
			if !yield(ch.set, len(ch.adds)-len(ch.deletesFirst)-len(ch.deletesLast)) {
				return
			}
		}
	}
}
