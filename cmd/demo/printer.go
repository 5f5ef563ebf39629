package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// printer writes for a person, in colours on a terminal.
type printer struct {
	w      io.Writer
	colour bool
}

func newPrinter(f *os.File) *printer {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &printer{w: f, colour: err == nil && os.Getenv("NO_COLOR") == ""}
}

func (p *printer) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *printer) bold(text string) string  { return p.paint("1", text) }
func (p *printer) green(text string) string { return p.paint("32", text) }
func (p *printer) red(text string) string   { return p.paint("31", text) }
func (p *printer) dim(text string) string   { return p.paint("2", text) }

func (p *printer) heading(title string) {
	fmt.Fprintf(p.w, "\n%s\n", p.paint("1;36", "== "+title))
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p.w, "   "+format+"\n", args...)
}

// block writes text of several lines.
func (p *printer) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.line("%s", strings.TrimRight(line, "\n"))
	}
}

// command shows what is run, as a person would type it.
func (p *printer) command(text string) { p.line("%s", p.dim("$ "+text)) }

// zero writes a number that should be 0.
func (p *printer) zero(what string, n uint64) {
	text := p.green("0")
	if n != 0 {
		text = p.red(fmt.Sprint(n))
	}
	p.line("%s: %s", what, text)
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
