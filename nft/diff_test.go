package nft

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smallTable is what the differences start from.
func smallTable() *Table {
	return &Table{
		Name: "t",
		Sets: []*Set{verdictMap("verdicts", verdictTo("10.0.0.1", "a")), dataMap("data", dataTo("10.0.0.1", "10.1.0.1"))},
		Chains: []*Chain{
			{Name: "a", Rules: []Rule{NewRule(Verdict{Kind: Accept})}},
			{Name: "base", Base: &Base{Type: FilterChain, Hook: Input}, Rules: []Rule{NewRule(Vmap("verdicts", IPDaddr))}},
		},
	}
}

// everything are the lines that make smallTable from nothing.
var everything = []string{
	"add table inet t",
	"add set inet t verdicts", "add set inet t data",
	"add chain inet t a", "add chain inet t base",
	"add rule inet t a accept", "add rule inet t base ip daddr vmap @verdicts",
	"add element inet t data { 10.0.0.1 : 10.1.0.1 }", "add element inet t verdicts { 10.0.0.1 : goto a }",
}

var replaceEverything = append([]string{"add table inet t", "delete table inet t"}, everything...)

func TestDiff(t *testing.T) {
	change := func(f func(*Table)) *Table {
		table := smallTable()
		f(table)
		return table
	}
	tests := []struct {
		name string
		have *Table
		want *Table // nil: smallTable
		diff []string
	}{
		{"nothing there", nil, nil, everything},
		{"the same", smallTable(), nil, nil},
		{"a comment", change(func(h *Table) { h.Sets[0].Elements[0].Comment = "old" }), nil,
			[]string{"delete element inet t verdicts { 10.0.0.1 }", "add element inet t verdicts { 10.0.0.1 : goto a }"}},
		{"counters and times", change(func(h *Table) { e := &h.Sets[0].Elements[0]; e.Packets, e.Bytes, e.Timeout = 1, 2, 3 }), nil, nil},
		{"another element", change(func(h *Table) { h.Sets[1].Elements[0].Key = addr("10.0.0.2") }), nil,
			[]string{"add element inet t data { 10.0.0.1 : 10.1.0.1 }", "delete element inet t data { 10.0.0.2 }"}},
		{"an element twice", change(func(h *Table) { h.Sets[1].Elements = append(h.Sets[1].Elements, dataTo("10.0.0.3", "1.1.1.1")) }), nil,
			[]string{"delete element inet t data { 10.0.0.3 }"}},
		{"a rule", change(func(h *Table) { h.Chains[0].Rules = append(h.Chains[0].Rules, NewRule(Reject())) }), nil,
			[]string{"flush chain inet t a", "add rule inet t a accept"}},
		{"a chain too many", change(func(h *Table) { h.Chains = append(h.Chains, &Chain{Name: "x"}) }), nil,
			[]string{"flush chain inet t x", "delete chain inet t x"}},
		{"a set too many", change(func(h *Table) { h.Sets = append(h.Sets, dataMap("x")) }), nil, []string{"delete set inet t x"}},
		{"a chain too few", change(func(h *Table) { h.Chains = h.Chains[1:] }), nil, []string{"add chain inet t a", "add rule inet t a accept"}},
		{"a set too few", change(func(h *Table) { h.Sets = h.Sets[:1] }), nil,
			[]string{"add set inet t data", "add element inet t data { 10.0.0.1 : 10.1.0.1 }"}},
		{"another type", change(func(h *Table) { h.Sets[0].Key = Types{IPv6Addr} }), nil, replaceEverything},
		{"a type nobody knows", change(func(h *Table) { h.Sets[0] = &Set{Name: "verdicts"} }), nil, replaceEverything},
		{"another size", change(func(h *Table) { h.Sets[0].Size = 5 }), nil, replaceEverything},
		{"another hook", change(func(h *Table) { h.Chains[1].Base.Hook = Forward }), nil, replaceEverything},
		{"another policy", change(func(h *Table) { h.Chains[1].Base.Drops = true }), nil, replaceEverything},
		{"no hook", change(func(h *Table) { h.Chains[1].Base = nil }), nil, replaceEverything},
		{"dormant", change(func(h *Table) { h.Dormant = true }), nil, replaceEverything},
		{"owned by nobody", change(func(h *Table) { h.Owned = true }), nil, replaceEverything},
		{"persistent", change(func(h *Table) { h.Persist = true }), nil, replaceEverything},
		{"an orphan", change(func(h *Table) { h.Persist = true }), change(func(w *Table) { w.Owned, w.Persist = true, true }),
			[]string{"add table inet t"}},
		{"owned already", change(func(h *Table) { h.Owned, h.Persist = true, true }), change(func(w *Table) { w.Owned, w.Persist = true, true }), nil},
		{"not owned yet", smallTable(), change(func(w *Table) { w.Owned, w.Persist = true, true }), replaceEverything},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == nil {
				want = smallTable()
			}
			tx := Diff(tt.have, want)
			if diff := cmp.Diff(tt.diff, tx.Lines()); diff != "" {
				t.Error(diff)
			}
			if tx.IsEmpty() != (len(tt.diff) == 0) {
				t.Errorf("IsEmpty is %v", tx.IsEmpty())
			}
		})
	}
}

// TestDiffOfIntervals knows an interval of one key by both its spellings.
func TestDiffOfIntervals(t *testing.T) {
	table := func(elements ...Element) *Table {
		return &Table{Name: "t", Sets: []*Set{{Name: "cidrs", Key: Types{IPv4Addr}, Interval: true, Elements: elements}}}
	}
	one := table(Element{Key: addr("10.0.0.1"), KeyEnd: addr("10.0.0.1")}, Element{Key: addr("10.0.0.4"), KeyEnd: addr("10.0.0.7")})
	same := table(Element{Key: addr("10.0.0.4"), KeyEnd: addr("10.0.0.7")}, Element{Key: addr("10.0.0.1")})
	if tx := Diff(one, same); !tx.IsEmpty() {
		t.Errorf("a key and an interval of one key differ: %q", tx.Lines())
	}
	wider := table(Element{Key: addr("10.0.0.1")}, Element{Key: addr("10.0.0.4"), KeyEnd: addr("10.0.0.9"), Comment: "x"})
	want := []string{
		"delete element inet t cidrs { 10.0.0.4/30 }",
		`add element inet t cidrs { 10.0.0.4-10.0.0.9 comment "x" }`,
	}
	if diff := cmp.Diff(want, Diff(one, wider).Lines()); diff != "" {
		t.Error(diff)
	}
}

// TestDiffOfDynamicSets leaves what the packet path has learned, and takes the
// kernel's default size for no size.
func TestDiffOfDynamicSets(t *testing.T) {
	table := func(size uint32, elements ...Element) *Table {
		s := dataMap("learned", elements...)
		s.Dynamic, s.Size = true, size
		return &Table{Name: "t", Sets: []*Set{s}}
	}
	if tx := Diff(table(65535, dataTo("1.1.1.1", "2.2.2.2")), table(0)); !tx.IsEmpty() {
		t.Errorf("it is not left alone: %q", tx.Lines())
	}
}
