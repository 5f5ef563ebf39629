package nft

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func verdictMap(name string, elements ...Element) *Set {
	return &Set{Name: name, Key: Types{IPv4Addr}, Verdicts: true, Elements: elements}
}

func dataMap(name string, elements ...Element) *Set {
	return &Set{Name: name, Key: Types{IPv4Addr}, Data: Types{IPv4Addr}, Elements: elements}
}

func verdictTo(key, chain string) Element { return Element{Key: addr(key), Verdict: GotoChain(chain)} }

func dataTo(key, data string) Element { return Element{Key: addr(key), Data: addr(data)} }

// TestOperationsOrder collects everything in the wrong order, and gets it in the
// order that the kernel needs.
func TestOperationsOrder(t *testing.T) {
	verdicts, data := verdictMap("verdicts"), dataMap("data")
	cidrs := &Set{Name: "cidrs", Key: Types{IPv4Addr}, Interval: true}
	learned := &Set{Name: "learned", Key: Types{IPv4Addr}, Data: Types{IPv4Addr}, Dynamic: true}
	tx := NewTransaction(&Table{Name: "t"})
	tx.DeleteSet(dataMap("old-map"))
	tx.DeleteChain(&Chain{Name: "old"})
	tx.DeleteElements(verdicts, verdictTo("10.0.0.9", "old"))
	tx.AddElements(verdicts, verdictTo("10.0.0.1", "new"))
	tx.ReplaceElement(verdicts, verdictTo("10.0.0.2", "new"))
	tx.AddElements(data, dataTo("10.0.0.1", "10.1.0.1"))
	tx.DeleteElements(data, dataTo("10.0.0.8", "10.1.0.8"))
	tx.DeleteElements(cidrs, Element{Key: addr("10.0.0.0"), KeyEnd: addr("10.0.0.255")})
	tx.AddElements(cidrs, Element{Key: addr("10.0.0.0"), KeyEnd: addr("10.0.1.255")})
	tx.DestroyElements(learned, dataTo("1.1.1.1", "10.1.0.8"))
	tx.ReplaceRules(&Chain{Name: "changed", Rules: []Rule{NewRule(GotoChain("new"))}})
	tx.AddChain(&Chain{Name: "new", Rules: []Rule{NewRule(DNAT("new-map", IPDaddr))}})
	tx.AddSet(dataMap("new-map", dataTo("10.0.0.3", "10.1.0.3")))
	tx.CreateTable()
	want := []string{
		"add table inet t",
		"destroy element inet t learned { 1.1.1.1 }",
		"delete element inet t verdicts { 10.0.0.2 }",
		"delete element inet t cidrs { 10.0.0.0/24 }",
		"flush chain inet t changed",
		"add set inet t new-map",
		"add chain inet t new",
		"add rule inet t changed goto new",
		"add rule inet t new dnat ip to ip daddr map @new-map",
		"add element inet t data { 10.0.0.1 : 10.1.0.1 }",
		"add element inet t cidrs { 10.0.0.0/23 }",
		"add element inet t new-map { 10.0.0.3 : 10.1.0.3 }",
		"add element inet t verdicts { 10.0.0.1 : goto new }",
		"add element inet t verdicts { 10.0.0.2 : goto new }",
		"delete element inet t data { 10.0.0.8 }",
		"delete element inet t verdicts { 10.0.0.9 }",
		"flush chain inet t old",
		"delete set inet t old-map",
		"delete chain inet t old",
	}
	if diff := cmp.Diff(want, tx.Lines()); diff != "" {
		t.Error(diff)
	}
	if n := tx.ElementCount(); n != 10 {
		t.Errorf("%d element operations, want 10", n)
	}
	if tx.IsEmpty() {
		t.Error("the transaction is empty")
	}
}

func TestTransactionIsEmpty(t *testing.T) {
	table := &Table{Name: "t"}
	tx := NewTransaction(table)
	tx.AddElements(dataMap("data"))
	tx.DeleteElements(dataMap("data"))
	tx.DestroyElements(dataMap("data"))
	if !tx.IsEmpty() {
		t.Errorf("%v is not empty", tx.Lines())
	}
	for _, change := range []func(*Transaction){
		(*Transaction).CreateTable, (*Transaction).ReplaceTable, (*Transaction).DeleteTable,
		func(tx *Transaction) { tx.AddSet(dataMap("data")) },
		func(tx *Transaction) { tx.DeleteSet(dataMap("data")) },
		func(tx *Transaction) { tx.AddChain(&Chain{}) },
		func(tx *Transaction) { tx.DeleteChain(&Chain{}) },
		func(tx *Transaction) { tx.ReplaceRules(&Chain{}) },
		func(tx *Transaction) { tx.AddElements(dataMap("data"), Element{}) },
		func(tx *Transaction) { tx.DestroyElements(dataMap("data"), Element{}) },
	} {
		tx := NewTransaction(table)
		if change(tx); tx.IsEmpty() || len(tx.Operations()) == 0 {
			t.Errorf("%v is empty", tx.Lines())
		}
	}
}

func TestReplaceTable(t *testing.T) {
	tx := NewTransaction(&Table{Name: "t"})
	tx.ReplaceTable()
	want := []string{"add table inet t", "delete table inet t", "add table inet t"}
	if diff := cmp.Diff(want, tx.Lines()); diff != "" {
		t.Error(diff)
	}
}
