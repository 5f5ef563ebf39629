package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
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

// table writes rows with aligned columns, two spaces apart. A cell that ends its row
// may be longer than the column.
func (p *page) table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i := range row[:max(0, len(row)-1)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i == len(row)-1 {
				line.WriteString(cell)
			} else {
				fmt.Fprintf(&line, "%-*s  ", widths[i], cell)
			}
		}
		p.line("%s", strings.TrimRight(line.String(), " "))
	}
}

// printJSON writes a value for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
