package scenario

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// checkKernel holds what a node's kernel has to the table that was committed to
// it: as it is read back, and as nft lists it beside the rendered text.
func (l *live) checkKernel(t *testing.T, node *testnet.Host) {
	t.Helper()
	want := l.kernel.table()
	l.checkReadBack(t)
	programmed, err := node.Run("nft", "list", "table", "inet", want.Name)
	if err != nil {
		t.Fatal(err)
	}
	loaded := kerneltest.Namespace(t)
	loaded.NftLoad(t, want.Text())
	listing := loaded.Nft(t, "list", "table", "inet", want.Name)
	if diff := cmp.Diff(listingLines(listing, want), listingLines(programmed, want)); diff != "" {
		t.Errorf("nft lists the rendered text (-) and the programmed table (+):\n%s", diff)
	}
}

var (
	// slotHead is the head of a slot map: the kernel knows types, nft needs typeof
	// to load the rules.
	slotHead = regexp.MustCompile(`^(type .* \. mark : .*|typeof .*numgen.*)$`)
	// slotNumber is a slot in an element: the kernel's is a mark, nft's an integer.
	slotNumber = regexp.MustCompile(`^(.* \. )(?:0x0*)?([0-9a-f]+)((?: counter)? : .* \. [0-9]+)$`)
)

// counted is what an element has counted: packets of the test, on one side.
var counted = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// elementsBegin begins the elements of a set.
const elementsBegin = "elements = { "

// listingLines makes two listings of a table comparable: a line per element,
// without what is known to differ, namely the slot maps' heads and the spelling
// of slots, counts, learned bindings, and rules that nft can list but not load.
func listingLines(listing string, table *nft.Table) []string {
	unloadable := unloadableRules(table)
	var lines []string
	inElements, dynamic := false, false
	for line := range strings.Lines(listing) {
		line = strings.TrimSpace(line)
		if name, ok := setName(line); ok {
			dynamic = table.Set(name) != nil && table.Set(name).Dynamic
		}
		if rest, ok := strings.CutPrefix(line, elementsBegin); ok {
			line, inElements = rest, true
		}
		if inElements {
			line, inElements = strings.CutSuffix(line, " }")
			inElements = !inElements
			if !dynamic {
				lines = append(lines, splitElements(line)...)
			}
			continue
		}
		if slotHead.MatchString(line) {
			line = "slots"
		}
		if !slices.Contains(unloadable, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// setName reads the line that begins a set or map.
func setName(line string) (string, bool) {
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != "set" && words[0] != "map" {
		return "", false
	}
	return words[1], true
}

// splitElements splits a line of elements.
func splitElements(line string) []string {
	var list []string
	for _, e := range strings.Split(strings.TrimSuffix(line, ","), ", ") {
		e = counted.ReplaceAllString(strings.TrimSpace(e), "counter")
		list = append(list, slotNumber.ReplaceAllString(e, "$1$2$3"))
	}
	return list
}

// unloadableRules are the rules that nft lists and can't load, as it lists them:
// behind the match of a protocol it calls the port by that name, and leaves the
// match out.
func unloadableRules(table *nft.Table) []string {
	var rules []string
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			if r.Unloadable == "" {
				continue
			}
			text := r.String()
			if rest, ok := strings.CutPrefix(text, "meta l4proto "); ok {
				protocol, update, _ := strings.Cut(rest, " ")
				text = strings.ReplaceAll(update, "th dport", protocol+" dport")
			}
			rules = append(rules, text)
		}
	}
	return rules
}
