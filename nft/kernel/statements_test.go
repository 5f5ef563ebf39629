package kernel_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

var (
	frontend4 = []nft.Field{nft.IPDaddr, nft.L4Proto, nft.ThDport}
	frontend6 = []nft.Field{nft.IP6Daddr, nft.L4Proto, nft.ThDport}
	original4 = []nft.Field{nft.CtOriginalIPDaddr, nft.L4Proto, nft.CtOriginalProtoDst}
	original6 = []nft.Field{nft.CtOriginalIP6Daddr, nft.L4Proto, nft.CtOriginalProtoDst}
)

func with(first nft.Field, fields ...nft.Field) []nft.Field {
	return append([]nft.Field{first}, fields...)
}

func then(fields []nft.Field, last nft.Field) []nft.Field { return append(slices.Clone(fields), last) }

// ruleCase is a rule that the kernel must list as its text. All rules of one
// hook stand in one chain.
type ruleCase struct {
	chain string
	rule  nft.Rule
	// unloadable: nft lists the rule but can't load it.
	unloadable bool
}

// statementTable is a table with a rule, or a few, for every statement.
func statementTable() (*nft.Table, []ruleCase) {
	var cases []ruleCase
	add := func(chain string, statements ...nft.Statement) {
		cases = append(cases, ruleCase{chain: chain, rule: nft.NewRule(statements...)})
	}
	addFilterRules(func(s ...nft.Statement) { add("input", s...) })
	addNATRules(func(s ...nft.Statement) { add("prerouting", s...) })
	add("postrouting", nft.Masquerade())
	add("postrouting", nft.MarkIsSet(0x4000), nft.FlipMark(0x4000), nft.Masquerade())
	cases = append(cases, ruleCase{"input", nft.NewRule(update6()), true})

	chains := map[string]*nft.Chain{
		"input":       {Name: "input", Base: &nft.Base{Type: nft.FilterChain, Hook: nft.Input}},
		"prerouting":  {Name: "prerouting", Base: &nft.Base{Type: nft.NATChain, Hook: nft.Prerouting, Priority: -105}},
		"postrouting": {Name: "postrouting", Base: &nft.Base{Type: nft.NATChain, Hook: nft.Postrouting, Priority: 100}},
	}
	for _, c := range cases {
		chains[c.chain].Rules = append(chains[c.chain].Rules, c.rule)
	}
	table := &nft.Table{Name: "statements", Sets: statementSets(), Chains: []*nft.Chain{
		{Name: "target"}, chains["input"], chains["prerouting"], chains["postrouting"],
	}}
	return table, cases
}

func addFilterRules(add func(...nft.Statement)) {
	for _, kind := range []nft.VerdictKind{nft.Accept, nft.Drop, nft.Return} {
		add(nft.Verdict{Kind: kind})
	}
	add(nft.JumpChain("target"))
	add(nft.Trace())
	add(nft.GotoChain("target"))
	add(nft.Reject())
	add(nft.CtStateNew())
	add(nft.CtStatusDNAT())
	add(nft.CtStatusNotDNAT())
	for _, p := range []nft.Protocol{nft.TCP, nft.UDP, nft.SCTP} {
		add(nft.MatchL4Proto(p))
	}
	add(nft.MatchIPv4, nft.Verdict{Kind: nft.Accept})
	add(nft.MatchIPv6, nft.Verdict{Kind: nft.Accept})
	add(nft.FibSaddrLocal())
	add(nft.Iifname("cni0"))
	add(nft.NotIifname("cni0"))
	add(nft.Iifname("veth*"))
	add(nft.NotIifname("veth*"))
	add(nft.Iifname("fifteen-letters"))
	for _, bit := range []uint32{1, 0x4000, 1 << 31} {
		add(nft.MarkIsSet(bit))
		add(nft.SetMark(bit))
		add(nft.FlipMark(bit))
	}
	for _, f := range []nft.Field{nft.IPSaddr, nft.IPDaddr} {
		add(nft.In("addresses4", f))
		add(nft.NotIn("addresses4", f))
		add(nft.In("cidrs4", f))
	}
	for _, f := range []nft.Field{nft.IP6Saddr, nft.IP6Daddr} {
		add(nft.In("addresses6", f))
		add(nft.NotIn("addresses6", f))
		add(nft.In("cidrs6", f))
	}
	for _, prefix := range []string{"10.244.0.0/16", "10.244.3.0/24", "10.240.0.0/13", "192.0.2.1/32", "128.0.0.0/1"} {
		add(nft.NotInPrefix(nft.IPSaddr, netip.MustParsePrefix(prefix)))
	}
	for _, prefix := range []string{"fd00:10:244::/48", "fd00::/7", "2001:db8::1/128", "2001:db8:0:4::/62"} {
		add(nft.NotInPrefix(nft.IP6Saddr, netip.MustParsePrefix(prefix)))
	}
	add(nft.In("ports", nft.L4Proto, nft.ThDport))
	add(nft.In("hairpin4", nft.IPSaddr, nft.IPDaddr))
	add(nft.In("hairpin6", nft.IP6Saddr, nft.IP6Daddr))
	add(nft.CtStatusDNAT(), nft.In("hairpin4", nft.IPSaddr, nft.IPDaddr), nft.Verdict{Kind: nft.Accept})
	add(nft.In("ranges4", then(frontend4, nft.IPSaddr)...))
	add(nft.NotIn("ranges6", then(frontend6, nft.IP6Saddr)...))
	add(nft.Vmap("services4", frontend4...))
	add(nft.Vmap("services6", frontend6...))
	add(nft.MatchL4Proto(nft.TCP), nft.Vmap("services4", original4...))
	add(nft.MatchL4Proto(nft.TCP), nft.Vmap("services6", original6...))
	add(nft.MatchL4Proto(nft.TCP), update4())
	add(nft.MatchL4Proto(nft.TCP), update4(), nft.Verdict{Kind: nft.Accept})
}

func addNATRules(add func(...nft.Statement)) {
	add(nft.DNAT("affinity4", with(nft.IPSaddr, frontend4...)...))
	add(nft.DNAT6("affinity6", with(nft.IP6Saddr, frontend6...)...))
	for _, mod := range []uint32{1, 2, 65536} {
		add(nft.DNAT("backends4", then(frontend4, nft.NumgenRandom(mod))...))
		add(nft.DNAT6("backends6", then(frontend6, nft.NumgenRandom(mod))...))
	}
}

func update4() nft.Statement {
	key := []nft.Field{nft.IPSaddr, nft.CtOriginalIPDaddr, nft.L4Proto, nft.CtOriginalProtoDst}
	return nft.Update("affinity4", key, 3*time.Hour+90*time.Second, []nft.Field{nft.IPDaddr, nft.ThDport})
}

func update6() nft.Statement {
	key := []nft.Field{nft.IP6Saddr, nft.CtOriginalIP6Daddr, nft.L4Proto, nft.CtOriginalProtoDst}
	return nft.Update("affinity6", key, time.Minute, []nft.Field{nft.IP6Daddr, nft.ThDport})
}

func statementSets() []*nft.Set {
	var sets []*nft.Set
	for _, f := range []struct {
		suffix string
		addr   nft.Type
		ip     string
	}{{"4", nft.IPv4Addr, "ip"}, {"6", nft.IPv6Addr, "ip6"}} {
		frontend := nft.Types{f.addr, nft.InetProto, nft.InetService}
		backend := nft.Types{f.addr, nft.InetService}
		sets = append(sets,
			&nft.Set{Name: "addresses" + f.suffix, Key: nft.Types{f.addr}},
			&nft.Set{Name: "cidrs" + f.suffix, Key: nft.Types{f.addr}, Interval: true},
			&nft.Set{Name: "hairpin" + f.suffix, Key: nft.Types{f.addr, f.addr}},
			&nft.Set{Name: "ranges" + f.suffix, Key: append(frontend[:3:3], f.addr), Interval: true},
			&nft.Set{Name: "services" + f.suffix, Key: frontend, Verdicts: true, Counters: true},
			&nft.Set{Name: "affinity" + f.suffix, Key: append(nft.Types{f.addr}, frontend...), Data: backend, Dynamic: true, Size: 1000},
			&nft.Set{
				Name: "backends" + f.suffix, Key: append(frontend[:3:3], nft.Mark), Data: backend,
				LoadTypeof: fmt.Sprintf("%[1]s daddr . meta l4proto . th dport . numgen random mod 2 : %[1]s daddr . th dport", f.ip),
			})
	}
	return append(sets, &nft.Set{Name: "ports", Key: nft.Types{nft.InetProto, nft.InetService}})
}

// TestStatementsListAsTheirText programs every statement, loads the same as text,
// and compares what nft lists.
func TestStatementsListAsTheirText(t *testing.T) {
	table, cases := statementTable()
	programmed, loaded := kerneltest.Namespace(t), kerneltest.Namespace(t)
	c := dial(t, programmed, kernel.Options{})
	commit(t, c, nft.Diff(nil, table))

	text := *table
	text.Chains = slices.Clone(table.Chains)
	for i, chain := range text.Chains {
		copied := *chain
		copied.Rules = slices.Clone(chain.Rules)
		text.Chains[i] = &copied
		for j, r := range copied.Rules {
			if slices.ContainsFunc(cases, func(c ruleCase) bool { return c.unloadable && c.rule.String() == r.String() }) {
				copied.Rules[j].Unloadable = "nft has too few registers"
			}
		}
	}
	loaded.NftLoad(t, text.Text())

	for _, chain := range table.Chains {
		got := rulesListed(programmed.Nft(t, "list", "chain", "inet", table.Name, chain.Name))
		want := rulesListed(loaded.Nft(t, "list", "chain", "inet", table.Name, chain.Name))
		for _, c := range cases {
			if c.unloadable && c.chain == chain.Name {
				want = append(want, c.rule.String())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("chain %s, loaded as text (-) and programmed (+):\n%s", chain.Name, diff)
		}
		for i, r := range chain.Rules {
			if i+1 >= len(got) {
				break
			}
			if line := got[i+firstRule(chain)]; line != r.String() && line != listForm(r.String()) {
				t.Errorf("rule %q is listed as %q", r.String(), line)
			}
		}
	}
}

// firstRule is where the rules begin in a listed chain: behind the line that
// makes it a base chain.
func firstRule(c *nft.Chain) int {
	if c.Base != nil {
		return 1
	}
	return 0
}

// listForm writes a rule's text as older nft (1.0.6) lists it, where that differs: it
// takes a mask of leading bits for a prefix, and behind a match of TCP it calls
// the port by that name.
func listForm(text string) string {
	text = strings.ReplaceAll(text, "meta mark & 0x80000000 != 0x00000000", "meta mark != 0x00000000/1")
	if update, ok := strings.CutPrefix(text, "meta l4proto tcp update"); ok {
		return "update" + strings.ReplaceAll(update, "th dport", "tcp dport")
	}
	return text
}

// rulesListed are the lines between a chain's braces.
func rulesListed(listing string) []string {
	lines := strings.Split(strings.TrimSpace(listing), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines[2 : len(lines)-2]
}

// TestStatementsReadBack proves that SameRule knows each rule again, and tells
// each from every other.
func TestStatementsReadBack(t *testing.T) {
	table, _ := statementTable()
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	commit(t, c, nft.Diff(nil, table))
	snapshot, err := c.ReadTable(table.Name)
	if err != nil {
		t.Fatal(err)
	}
	var wanted, read []nft.Rule
	for _, chain := range table.Chains {
		wanted = append(wanted, chain.Rules...)
		read = append(read, snapshot.Table.Chain(chain.Name).Rules...)
	}
	if len(wanted) != len(read) {
		t.Fatalf("read %d rules, want %d", len(read), len(wanted))
	}
	for _, w := range wanted {
		for j, r := range read {
			if same := nft.SameRule(r, w); same != (w.String() == wanted[j].String()) {
				t.Errorf("SameRule(read %q, wanted %q) = %v", wanted[j], w, same)
			}
		}
		for _, other := range wanted {
			if same := nft.SameRule(other, w); same != (w.String() == other.String()) {
				t.Errorf("SameRule(%q, %q) = %v", other, w, same)
			}
		}
	}
	if tx := nft.Diff(snapshot.Table, table); !tx.IsEmpty() {
		t.Errorf("a programmed table differs from itself:\n%s", strings.Join(tx.Lines(), "\n"))
	}
}

// TestStatementsAreComplete holds the cases to the source of package nft: a
// statement or a field without a case fails.
func TestStatementsAreComplete(t *testing.T) {
	_, cases := statementTable()
	covered := map[string]bool{}
	texts := ""
	for _, c := range cases {
		texts += c.rule.String() + "\n"
		for _, s := range c.rule.Statements {
			covered[reflect.TypeOf(s).Name()] = true
		}
	}
	for _, file := range parsePackage(t, "..") {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "compile" {
				if typ := f.Recv.List[0].Type.(*ast.Ident).Name; !covered[typ] {
					t.Errorf("no rule has the statement %s", typ)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if ok && len(lit.Elts) > 0 && fmt.Sprint(lit.Type) == "Field" {
				if text, ok := lit.Elts[0].(*ast.BasicLit); ok {
					if s, _ := strconv.Unquote(text.Value); !strings.Contains(texts, s) {
						t.Errorf("no rule has the field %s", s)
					}
				}
			}
			return true
		})
	}
}

func parsePackage(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("find the source of package nft: %v", err)
	}
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}
