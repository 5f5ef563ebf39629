package scenario

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// elementsText lists the elements that a table has and an empty cluster's does
// not, set by set, and the names of the chains that exist for them.
func elementsText(t, empty *nft.Table) string {
	var sb strings.Builder
	for _, set := range t.Sets {
		lines := elementLines(set)
		if e := empty.Set(set.Name); e != nil {
			common := elementLines(e)
			lines = slices.DeleteFunc(lines, func(line string) bool { return slices.Contains(common, line) })
		}
		if len(lines) == 0 {
			continue
		}
		kind := "set"
		if set.IsMap() || set.IsVerdictMap() {
			kind = "map"
		}
		fmt.Fprintf(&sb, "%s %s {\n\t%s\n}\n", kind, set.Name, strings.Join(lines, "\n\t"))
	}
	var chains []string
	for _, c := range t.Chains {
		if empty.Chain(c.Name) == nil {
			chains = append(chains, c.Name)
		}
	}
	if len(chains) > 0 {
		fmt.Fprintf(&sb, "chains %s\n", strings.Join(chains, " "))
	}
	return sb.String()
}

// elementLines are a set's elements as nft lists them, in the order of their keys.
func elementLines(s *nft.Set) []string {
	sorted := slices.Clone(s.Elements)
	slices.SortFunc(sorted, func(a, b nft.Element) int {
		address, slot := slotKey(s, &a)
		otherAddress, otherSlot := slotKey(s, &b)
		return cmp.Or(bytes.Compare(address, otherAddress), cmp.Compare(slot, otherSlot))
	})
	lines := make([]string, len(sorted))
	for i := range sorted {
		lines[i] = sorted[i].Text(s)
	}
	return lines
}

// slotKey splits an element's key into what comes before the slot, and the slot.
func slotKey(s *nft.Set, e *nft.Element) (frontend []byte, slot uint32) {
	key := e.Key.Bytes()
	if !rulesettest.HoldsSlots(s.Name) {
		return key, 0
	}
	at := len(key) - 4
	return key[:at], e.Key.MarkAt(at)
}

// transactionsText lists transactions. The rules of chains that are made on demand
// are only counted: the golden tables show them.
func transactionsText(txs []*nft.Transaction) string {
	if len(txs) == 0 {
		return "# nothing is written\n"
	}
	var sb strings.Builder
	for i, tx := range txs {
		if i > 0 {
			sb.WriteString("# then\n")
		}
		rules := map[string]int{}
		for _, op := range tx.Operations() {
			if op.Kind == nft.AddRule {
				rules[op.Chain.Name]++
			}
		}
		for _, line := range tx.Lines() {
			line = strings.Replace(line, " inet "+tx.Table.Name, "", 1)
			words := strings.Fields(line)
			switch what, made := words[1], rulesettest.OnDemand(words[2]); {
			case what == "rule" && made:
				continue
			case what == "chain" && made && rules[words[2]] > 0:
				line += fmt.Sprintf(" # and its rules: %d", rules[words[2]])
			}
			sb.WriteString(line + "\n")
		}
	}
	return sb.String()
}
