package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy"
)

var nftPrograms = flag.String("nft", "nft", "the nft programs that list the tables, separated by commas")

// TestListing programs the tables of all steps and lists them with each nft
// program of -nft, as text and as JSON: an nft that meets what it can't print
// aborts, and with it whatever asked for the whole ruleset. All must list what the
// installed one lists, which other tests hold to the rendered text.
func TestListing(t *testing.T) {
	var programs []*nftProgram
	for _, path := range strings.Split(*nftPrograms, ",") {
		programs = append(programs, newNftProgram(t, path))
	}
	t.Cleanup(func() { reportListings(t, programs) })
	for _, s := range loadScenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for i, table := range s.tables(t) {
				t.Run(fmt.Sprintf("step %d", i+1), func(t *testing.T) { listTable(t, programs, table) })
				if i == 0 {
					t.Run("owned", func(t *testing.T) { listOwned(t, programs, table) })
				}
			}
		})
	}
}

// tables are those of the first node that runs a proxy, one per step.
func (s *scenario) tables(t *testing.T) []*nft.Table {
	t.Helper()
	node := s.config.Proxies[0]
	w := s.beginning(t, node)
	w.all.HostAddrs = &[]netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8:2::10")}
	list := []*nft.Table{proxy.Render(s.config.proxy(node), w.all)}
	for _, step := range s.steps[1:] {
		w.apply(step.changes()...)
		list = append(list, proxy.Render(s.config.proxy(node), w.all))
	}
	return list
}

// program makes a namespace with the table in it.
func program(t *testing.T, table *nft.Table) (*kerneltest.NS, *kernel.Conn) {
	t.Helper()
	ns := kerneltest.Namespace(t)
	conn, err := kernel.Dial(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Commit(nft.Diff(nil, table)); err != nil {
		t.Fatal(err)
	}
	return ns, conn
}

// listTable holds the programs to a table.
func listTable(t *testing.T, programs []*nftProgram, table *nft.Table) {
	ns, _ := program(t, table)
	want := sameSpelling(ns.Nft(t, "list", "ruleset"), &nftProgram{})
	for _, p := range programs {
		listing := p.list(t, ns, table)
		if diff := cmp.Diff(want, sameSpelling(listing, p)); diff != "" {
			t.Errorf("nft %s lists, beside the installed nft (-):\n%s", p.version, diff)
		}
		p.load(t, table, listing)
	}
}

// listOwned holds the programs to an owned table, and to the orphan that its owner
// leaves.
func listOwned(t *testing.T, programs []*nftProgram, table *nft.Table) {
	owned := *table
	owned.Owned, owned.Persist = true, true
	ns, conn := program(t, table)
	if can, err := conn.CanPersist(); err != nil || !can {
		t.Skipf("the kernel has no table flag persist (before 6.9): %v", err)
	}
	if _, err := conn.Commit(nft.Diff(table, &owned)); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		listing := p.list(t, ns, &owned)
		p.note(func() { p.owned = tableFlags(listing) })
	}
	conn.Close()
	for _, p := range programs {
		listing := p.listText(t, ns)
		if !p.breaksOneFlag() {
			p.listJSON(t, ns, &owned)
		}
		p.note(func() { p.orphan = tableFlags(listing) })
	}
}

// list lists the table as text and as JSON, and returns the text.
func (p *nftProgram) list(t *testing.T, ns *kerneltest.NS, table *nft.Table) string {
	t.Helper()
	p.listJSON(t, ns, table)
	return p.listText(t, ns)
}

func (p *nftProgram) listText(t *testing.T, ns *kerneltest.NS) string {
	t.Helper()
	listing, warnings, err := p.run(t, ns, "", "list", "ruleset")
	if err != nil || warnings != "" {
		t.Fatalf("nft %s list ruleset: %v\n%s", p.version, err, warnings)
	}
	return listing
}

func (p *nftProgram) listJSON(t *testing.T, ns *kerneltest.NS, table *nft.Table) {
	t.Helper()
	output, warnings, err := p.run(t, ns, "", "-j", "list", "ruleset")
	if err == nil {
		err = checkJSON(withoutWarnings(output), table)
	}
	if err != nil {
		t.Errorf("nft %s -j list ruleset: %v\n%s", p.version, err, warnings)
	}
}

// withoutWarnings drops the lines that nft 0.9.8 prints before its JSON, about
// statements that it writes as text.
func withoutWarnings(output string) string {
	for strings.HasPrefix(output, "warning: stmt ops map have no json callback\n") {
		_, output, _ = strings.Cut(output, "\n")
	}
	return output
}

// checkJSON holds what a JSON listing counts to the table.
func checkJSON(output string, table *nft.Table) error {
	var listing struct {
		Nftables []map[string]struct {
			Name string            `json:"name"`
			Elem []json.RawMessage `json:"elem"`
			Expr []json.RawMessage `json:"expr"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(output), &listing); err != nil {
		return err
	}
	var have []string
	for _, object := range listing.Nftables {
		for kind, o := range object {
			switch kind {
			case "map", "set":
				have = append(have, fmt.Sprintf("%s %s of %d", kind, o.Name, len(o.Elem)))
			case "chain":
				have = append(have, "chain "+o.Name)
			case "rule":
				if len(o.Expr) == 0 {
					return errors.New("there is a rule without statements")
				}
				have = append(have, "rule")
			}
		}
	}
	want := objectsOf(table)
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		return fmt.Errorf("it lacks (-) and has beyond the table (+):\n%s", diff)
	}
	return nil
}

func objectsOf(table *nft.Table) (list []string) {
	for _, s := range table.Sets {
		kind := "set"
		if s.IsMap() || s.IsVerdictMap() {
			kind = "map"
		}
		list = append(list, fmt.Sprintf("%s %s of %d", kind, s.Name, len(s.Elements)))
	}
	for _, c := range table.Chains {
		list = append(list, "chain "+c.Name)
		list = append(list, slices.Repeat([]string{"rule"}, len(c.Rules))...)
	}
	return list
}

// load loads the rendered text, if the program can, and holds what it lists then
// to what it lists of the programmed table.
func (p *nftProgram) load(t *testing.T, table *nft.Table, listing string) {
	t.Helper()
	ns := kerneltest.Namespace(t)
	_, refusal, err := p.run(t, ns, table.Text(), "-f", "-")
	if (err != nil) != p.loadsNot() {
		t.Errorf("nft %s -f of the rendered text: error %v, and it is known to load it: %v\n%s", p.version, err, !p.loadsNot(), refusal)
	}
	if err != nil {
		return
	}
	loaded, warnings, err := p.run(t, ns, "", "list", "ruleset")
	if err != nil {
		t.Fatalf("nft %s list ruleset: %v\n%s", p.version, err, warnings)
	}
	if diff := cmp.Diff(sorted(listingLines(loaded, table)), sorted(listingLines(listing, table))); diff != "" {
		t.Errorf("nft %s lists the rendered text (-) and the programmed table (+):\n%s", p.version, diff)
	}
	p.note(func() { p.loaded++ })
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

// run runs the program in the namespace.
func (p *nftProgram) run(t *testing.T, ns *kerneltest.NS, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	ns.Do(t, func() {
		cmd := exec.Command(p.path, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
		err = cmd.Run()
	})
	return out.String(), errs.String(), err
}
