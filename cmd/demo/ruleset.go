package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// explainRuleset shows the IPv4 half of what serves the service.
func explainRuleset(_ context.Context, s *stage) error {
	s.command("nft list ruleset")
	text, err := s.node.Run("nft", "list", "ruleset")
	if err != nil {
		return err
	}
	frontends, err := s.frontends()
	if err != nil {
		return err
	}
	keep := func(element string) bool {
		for _, f := range frontends {
			if strings.HasPrefix(element, f.Key.Addr.String()+" . tcp . "+fmt.Sprint(f.Key.Port)+" ") {
				return true
			}
		}
		return false
	}
	s.block("...")
	s.block(elementsOf(block(text, "map services4"), keep))
	s.block("...")
	s.block(elementsOf(block(text, "map backends4"), keep))
	s.block("...")
	s.block(block(text, fmt.Sprintf("chain lb4-%d", frontends[0].Class)))
	s.block("...")
	s.line("An endpoint is one element of backends4 per frontend, and one of hairpin4 while it is on this node.")
	s.line("When %s left and came back, nothing else changed: no rule, no chain, no verdict.", leaver)
	return nil
}

// block cuts a map or chain out of a listed ruleset.
func block(text, head string) string {
	_, rest, _ := strings.Cut(text, "\t"+head+" {\n")
	body, _, _ := strings.Cut(rest, "\n\t}")
	return head + " {\n" + untab(body) + "\n}"
}

// untab brings a listing's indentation to two spaces a level.
func untab(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = "  " + strings.TrimPrefix(line, "\t\t")
	}
	return strings.Join(lines, "\n")
}

var elements = regexp.MustCompile(`(?s)elements = \{ (.*?) \}`)

// elementsOf leaves only some elements in a listed map.
func elementsOf(listed string, keep func(string) bool) string {
	return elements.ReplaceAllStringFunc(listed, func(list string) string {
		var kept []string
		for element := range strings.SplitSeq(elements.FindStringSubmatch(list)[1], ",") {
			if element = strings.TrimSpace(element); keep(element) {
				kept = append(kept, element)
			}
		}
		return "elements = { " + strings.Join(kept, ",\n               ") + " }"
	})
}
