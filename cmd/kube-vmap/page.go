package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// pageWidth is how many columns the output takes at most, where it can be broken.
const pageWidth = 100

// page writes for people. Its first error stays.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// text writes a sentence, broken between words, behind a prefix.
func (p *page) text(prefix, text string) {
	line := prefix
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > pageWidth:
			p.line("%s", line)
			line = strings.Repeat(" ", len(prefix)) + word
		default:
			line += " " + word
		}
	}
	p.line("%s", line)
}

// table writes rows with aligned columns.
func (p *page) table(rows [][]string) {
	if p.err != nil {
		return
	}
	var sb strings.Builder
	tw := tabwriter.NewWriter(&sb, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush() //nolint:errcheck // a Builder does not fail
	for line := range strings.Lines(sb.String()) {
		p.line("%s", strings.TrimRight(line, " \n"))
	}
}

// printJSON writes a value for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
