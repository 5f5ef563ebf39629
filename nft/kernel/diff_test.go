package kernel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

// diffTables are tables of one name that have as little, and as much, in common
// as tables can: each must be reachable from each other.
func diffTables() map[string]*nft.Table {
	frontend := nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService}
	verdicts := func(elements ...nft.Element) *nft.Set {
		return &nft.Set{Name: "services4", Key: frontend, Verdicts: true, Elements: elements}
	}
	cidrs := func(elements ...nft.Element) *nft.Set {
		return &nft.Set{Name: "cidrs4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Elements: elements}
	}
	service := func(n int, v nft.Verdict, comment string) nft.Element {
		return nft.Element{Key: frontendKey(n), Verdict: v, Comment: comment}
	}
	learned := func(size uint32) *nft.Set {
		return &nft.Set{Name: "learned", Key: nft.Types{nft.IPv4Addr}, Data: nft.Types{nft.IPv4Addr}, Dynamic: true, Size: size}
	}
	learn := nft.NewRule(nft.Update("learned", []nft.Field{nft.IPSaddr}, time.Hour, []nft.Field{nft.IPDaddr}))
	drop, accept := nft.Verdict{Kind: nft.Drop}, nft.Verdict{Kind: nft.Accept}
	vmap := nft.NewRule(nft.Vmap("services4", nft.IPDaddr, nft.L4Proto, nft.ThDport))
	base := func(hook nft.Hook, rules ...nft.Rule) *nft.Chain {
		return &nft.Chain{Name: "base", Base: &nft.Base{Type: nft.FilterChain, Hook: hook, Priority: -5}, Rules: rules}
	}
	chain := func(name string, statements ...nft.Statement) *nft.Chain {
		c := &nft.Chain{Name: name}
		for _, s := range statements {
			c.Rules = append(c.Rules, nft.NewRule(s))
		}
		return c
	}
	tables := map[string]*nft.Table{
		"none":  nil,
		"empty": {},
		"one service": {
			Sets:   []*nft.Set{verdicts(service(1, nft.GotoChain("a"), "one"), service(2, drop, ""))},
			Chains: []*nft.Chain{chain("a", accept), base(nft.Input, vmap)},
		},
		"other verdicts, chain deleted": {
			Sets:   []*nft.Set{verdicts(service(1, nft.GotoChain("b"), "one"), service(2, drop, "two"), service(3, nft.JumpChain("b"), ""))},
			Chains: []*nft.Chain{chain("b", nft.Reject()), base(nft.Input, vmap, vmap)},
		},
		"chains that lead on": {
			Sets:   []*nft.Set{verdicts(service(1, nft.GotoChain("a"), ""))},
			Chains: []*nft.Chain{chain("c", drop), chain("b", nft.JumpChain("c")), chain("a", nft.JumpChain("b"), nft.GotoChain("c"))},
		},
		"chains that lead back": {
			Chains: []*nft.Chain{chain("a", drop), chain("b", nft.JumpChain("a")), chain("c", nft.JumpChain("b"), nft.GotoChain("a"))},
		},
		"another hook":    {Sets: []*nft.Set{verdicts()}, Chains: []*nft.Chain{base(nft.Output, vmap)}},
		"a set redefined": {Sets: []*nft.Set{{Name: "services4", Key: frontend, Verdicts: true, Counters: true, Size: 10}}, Chains: []*nft.Chain{base(nft.Input, vmap)}},
		"intervals": {
			Sets: []*nft.Set{cidrs(interval("10.0.0.0", "10.0.0.255"), interval("10.0.1.0", "10.0.1.255"), interval("255.0.0.0", "255.255.255.255"))},
		},
		"intervals that overlap those": {
			Sets:   []*nft.Set{cidrs(interval("10.0.0.0", "10.0.3.255"), commented(interval("255.0.0.0", "255.255.255.255"), "end"))},
			Chains: []*nft.Chain{base(nft.Input, nft.NewRule(nft.In("cidrs4", nft.IPSaddr), drop))},
		},
		"learning":            {Sets: []*nft.Set{learned(0)}, Chains: []*nft.Chain{base(nft.Input, learn)}},
		"learning, with size": {Sets: []*nft.Set{learned(100)}, Chains: []*nft.Chain{base(nft.Input, learn)}},
		"owned":               {Owned: true, Persist: true, Sets: []*nft.Set{verdicts(service(1, drop, ""))}},
		"statements":          firstOf(statementTable()),
		"all kinds of sets":   setTable(),
		"cluster":             newCluster(20, 3).table,
	}
	if !kernel.KernelAtLeast(6, 9) {
		delete(tables, "owned") // no flag persist
	}
	for _, t := range tables {
		if t != nil {
			t.Name = "diff"
		}
	}
	return tables
}

func firstOf[A, B any](a A, _ B) A { return a }

// TestDiffFromAnyToAny programs each table, then the difference to each other,
// and wants exactly the other in the kernel.
func TestDiffFromAnyToAny(t *testing.T) {
	tables := diffTables()
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	for from, have := range tables {
		for to, want := range tables {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				for _, next := range []*nft.Table{have, want} {
					moveTo(t, c, next)
				}
			})
		}
	}
}

// moveTo brings the kernel's table to want, nil for none.
func moveTo(t *testing.T, c *kernel.Conn, want *nft.Table) {
	t.Helper()
	have := readTable(t, c, "diff")
	if want != nil {
		tx := nft.Diff(have, want)
		_, err := c.Commit(tx)
		if errors.Is(err, unix.EOPNOTSUPP) && !kernel.KernelAtLeast(6, 18) {
			// Kernels that validate each message by itself refuse chains whose
			// statements belong to other hooks while old ones still lead there.
			tx = nft.Diff(nil, want)
			tx.ReplaceTable()
			_, err = c.Commit(tx)
		}
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, lines(tx))
		}
		wantInKernel(t, c, want)
		return
	}
	tx := nft.NewTransaction(&nft.Table{Name: "diff"})
	tx.DeleteTable()
	if have != nil {
		commit(t, c, tx)
	}
	if readTable(t, c, "diff") != nil {
		t.Fatal("the table is still there")
	}
}

// TestDiffKeepsWhatIsLearned leaves the elements of a dynamic map alone.
func TestDiffKeepsWhatIsLearned(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	want := diffTables()["learning, with size"]
	commit(t, c, nft.Diff(nil, want))
	ns.Nft(t, "add", "element", "inet", "diff", "learned", "{ 1.1.1.1 timeout 1h : 2.2.2.2 }")
	wantInKernel(t, c, want)
	if n := len(readTable(t, c, "diff").Set("learned").Elements); n != 1 {
		t.Errorf("%d learned elements, want 1", n)
	}
}

// TestForeignTableIsReplaced reads a table of the wanted name that holds what
// package nft can't express.
func TestForeignTableIsReplaced(t *testing.T) {
	want := diffTables()["one service"]
	foreign := map[string]string{
		"set of another type":     "set services4 { type ether_addr; elements = { 00:01:02:03:04:05 } }",
		"constant set":            "map services4 { type ipv4_addr . inet_proto . inet_service : verdict; flags constant; elements = { 10.0.0.1 . tcp . 80 : drop } }",
		"set that times out":      "map services4 { type ipv4_addr . inet_proto . inet_service : verdict; timeout 1h; }",
		"set with a quota":        "set services4 { type ipv4_addr; quota 25 mbytes; elements = { 1.1.1.1 } }",
		"map of objects":          "counter c { } \n map services4 { type ipv4_addr : counter; elements = { 1.1.1.1 : \"c\" } }",
		"catch-all element":       "map services4 { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.0.0.1 . tcp . 80 : drop, * : drop } }",
		"policy drop":             "chain base { type filter hook input priority -5; policy drop; }",
		"anonymous sets":          "chain base { type filter hook input priority -5; ip saddr { 1.1.1.1, 2.2.2.2 } tcp dport vmap { 80 : drop, 81 : accept }; }",
		"flow of other chains":    "chain x { ip saddr 1.1.1.1 counter log prefix \"x\" jump y; }\n chain y { limit rate 1/second accept; }",
		"objects nobody asks for": "counter c { }\n quota q { 25 mbytes }\n chain x { counter name c; }",
		"wide key":                "set wide { type ipv6_addr . ipv6_addr . ipv6_addr; elements = { ::1 . ::2 . ::3 } }",
	}
	for name, text := range foreign {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			c := dial(t, ns, kernel.Options{})
			ns.NftLoad(t, "table inet diff {\n"+text+"\n}\n")
			moveTo(t, c, want)
			if out := ns.Nft(t, "list", "table", "inet", "diff"); strings.Count(out, "\tmap ") != 1 || strings.Count(out, "\tchain ") != 2 {
				t.Errorf("something foreign is left:\n%s", out)
			}
		})
	}
}
