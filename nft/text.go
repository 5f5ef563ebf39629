package nft

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Text prints the table in the form in which `nft -f` loads it, the same bytes
// for the same table: sets and chains in their order, elements sorted by key.
// The flags owner and persist are left out: nft would own the table, and take it
// with it when it ends.
func (t *Table) Text() string {
	var sb strings.Builder
	t.WriteText(&sb) //nolint:errcheck // a Builder does not fail
	return sb.String()
}

// WriteText writes what Text returns.
func (t *Table) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line(0, "table inet %s {", t.Name)
	for i, s := range t.Sets {
		p.gap(i)
		p.set(s)
	}
	for i, c := range t.Chains {
		p.gap(len(t.Sets) + i)
		p.chain(c)
	}
	p.line(0, "}")
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(indent int, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, strings.Repeat("\t", indent)+format+"\n", args...)
	}
}

// gap separates objects by an empty line.
func (p *printer) gap(i int) {
	if i > 0 {
		p.line(0, "")
	}
}

func (p *printer) set(s *Set) {
	kind := "set"
	if s.IsMap() || s.IsVerdictMap() {
		kind = "map"
	}
	p.line(1, "%s %s {", kind, s.Name)
	p.line(2, "%s", s.head())
	if s.Size > 0 {
		p.line(2, "size %d", s.Size)
	}
	if flags := s.flags(); len(flags) > 0 {
		p.line(2, "flags %s", strings.Join(flags, ","))
	}
	if s.Counters {
		p.line(2, "counter")
	}
	p.elements(s)
	p.line(1, "}")
}

// head is the line that types the set.
func (s *Set) head() string {
	switch {
	case s.LoadTypeof != "":
		return "typeof " + s.LoadTypeof
	case s.IsVerdictMap():
		return fmt.Sprintf("type %s : verdict", s.Key)
	case s.IsMap():
		return fmt.Sprintf("type %s : %s", s.Key, s.Data)
	}
	return fmt.Sprintf("type %s", s.Key)
}

func (s *Set) flags() []string {
	var flags []string
	if s.Interval {
		flags = append(flags, "interval")
	}
	if s.Dynamic {
		flags = append(flags, "dynamic", "timeout")
	}
	return flags
}

func (p *printer) elements(s *Set) {
	if len(s.Elements) == 0 {
		return
	}
	sorted := slices.Clone(s.Elements)
	slices.SortFunc(sorted, func(a, b Element) int { return compareKeys(s.Key, &a.Key, &b.Key) })
	lines := make([]string, len(sorted))
	for i := range sorted {
		lines[i] = sorted[i].loadText(s)
	}
	p.line(2, "elements = { %s }", strings.Join(lines, ",\n\t\t\t     "))
}

// compareKeys orders keys field by field, numbers by their value.
func compareKeys(ts Types, a, b *Value) int {
	off := 0
	for _, t := range ts {
		var c int
		if t == Mark {
			c = int(int64(a.MarkAt(off)) - int64(b.MarkAt(off)))
		} else {
			c = strings.Compare(string(a.b[off:off+t.Size()]), string(b.b[off:off+t.Size()]))
		}
		if c != 0 {
			return c
		}
		off += t.paddedSize()
	}
	return 0
}

func (p *printer) chain(c *Chain) {
	p.line(1, "chain %s {", c.Name)
	if b := c.Base; b != nil {
		p.line(2, "type %s hook %s priority %d; policy %s;", b.Type, b.Hook, b.Priority, b.policy())
	}
	for _, r := range c.Rules {
		if r.Unloadable != "" {
			p.line(2, "# %s: %s", r.Unloadable, r)
			continue
		}
		p.line(2, "%s", r)
	}
	p.line(1, "}")
}
