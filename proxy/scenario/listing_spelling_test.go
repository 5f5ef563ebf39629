package scenario

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// nftProgram is one version of nft, and what was seen of it.
type nftProgram struct {
	path    string
	version string

	mu            sync.Mutex // guards what follows, between the scenarios
	listed        int        // tables
	loaded        int
	owned, orphan string // the flags that it prints of a table that is owned, and whose owner is gone
	head          string // of the map backends4
	portsLost     bool   // it leaves the ports out of rules that learn bindings
}

func newNftProgram(t *testing.T, path string) *nftProgram {
	t.Helper()
	out, err := exec.Command(path, "--version").Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) < 2 {
		t.Fatalf("%s --version: %v %s", path, err, out)
	}
	return &nftProgram{path: path, version: strings.TrimPrefix(words[1], "v")}
}

func (p *nftProgram) note(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
}

// loadsNot reports whether the version is known not to load the rendered text: it
// takes no integer in a concatenation.
func (p *nftProgram) loadsNot() bool { return strings.HasPrefix(p.version, "0.9.") }

// breaksOneFlag reports whether the version is known to write broken JSON, with
// success, of a table with exactly one flag: any table, as the flag's text is freed
// before it is written. An owned table has two flags, and one when its owner is gone.
func (p *nftProgram) breaksOneFlag() bool { return strings.HasPrefix(p.version, "1.0.") }

var (
	// namedPriority is how versions print priorities near one with a name: which
	// hooks have names differs.
	namedPriority = regexp.MustCompile(`priority (raw|mangle|dstnat|filter|security|srcnat)(?: ([+-]) (\d+))?;`)
	// lostPort is how 0.9.8 prints a rule that learns a binding: without the port
	// that its data has.
	lostPort = regexp.MustCompile(`^meta l4proto (\w+) meta nfproto ipv[46] (update @affinity[46] .*) } accept$`)
	// notDNAT is how 0.9.8 prints the test that a destination was not translated.
	notDNAT = strings.NewReplacer("ct status & dnat == 0x0 ", "ct status ! dnat ")
	// highestBit is how 1.0.6 prints the test of a mark's highest bit.
	highestBit = strings.NewReplacer("meta mark != 0x00000000/1 ", "meta mark & 0x80000000 != 0x00000000 ")
	// wrongLength is the length of an IPv6 prefix behind other fields, which 0.9.8
	// prints as another one (64 for 48).
	wrongLength = regexp.MustCompile(`^(allowed-sources6 .*)/\d+$`)
)

// priorities of the inet family, by name (nft's manual page).
var priorities = map[string]int{"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}

// sameSpelling makes listings of different versions comparable: sorted lines, one
// per element, without the table's flags and process, and with what versions are
// known to spell differently spelled the same. p notes what it prints.
func sameSpelling(listing string, p *nftProgram) []string {
	var lines []string
	set, inElements, lost := "", false, false
	for line := range strings.Lines(listing) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "table ") || lines == nil {
			line, _, _ = strings.Cut(line, " # progname")
		}
		if name, ok := setName(line); ok {
			set = name
		}
		if set == "backends4" && slotHead.MatchString(line) {
			p.note(func() { p.head = line })
		}
		if rest, ok := strings.CutPrefix(line, elementsBegin); ok {
			line, inElements = rest, true
		}
		if inElements {
			line, inElements = strings.CutSuffix(line, " }")
			inElements = !inElements
			for _, e := range splitElements(line) {
				lines = append(lines, wrongLength.ReplaceAllString(set+" "+e, "$1/length"))
			}
			continue
		}
		if m := lostPort.FindStringSubmatch(line); m != nil {
			line, lost = fmt.Sprintf("%s . %s dport } accept", m[2], m[1]), true
		}
		line = strings.Replace(line, " addr . port to ", " to ", 1) // 0.9.8's dnat to a map's value
		line = notDNAT.Replace(highestBit.Replace(line))
		lines = append(lines, namedPriority.ReplaceAllStringFunc(line, priorityNumber))
	}
	p.note(func() { p.listed, p.portsLost = p.listed+1, p.portsLost || lost })
	slices.Sort(lines)
	return lines
}

func priorityNumber(text string) string {
	m := namedPriority.FindStringSubmatch(text)
	offset, _ := strconv.Atoi(m[2] + m[3]) // 0 if there is none
	return fmt.Sprintf("priority %d;", priorities[m[1]]+offset)
}

// tableFlags is the line of the table's flags in a listing.
func tableFlags(listing string) string {
	lines := strings.SplitN(listing, "\n", 3)
	if len(lines) < 2 || !strings.HasPrefix(strings.TrimSpace(lines[1]), "flags") {
		return "none"
	}
	return strings.TrimSpace(lines[1])
}

var listingReport = flag.String("listing-report", "", "the file to which TestListing writes what it has seen, as Markdown")

// reportListings writes a table of the programs.
func reportListings(t *testing.T, programs []*nftProgram) {
	if *listingReport == "" {
		return
	}
	var sb strings.Builder
	sb.WriteString("| nft | tables listed, as text and JSON | rendered text loaded | prints of an owned table | and of one whose owner is gone | JSON of that | prints of a typed map | learn rules |\n")
	sb.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, p := range programs {
		learn := "whole"
		if p.portsLost {
			learn = "without the port"
		}
		orphan := "right"
		if p.breaksOneFlag() {
			orphan = "may be broken"
		}
		fmt.Fprintf(&sb, "| %s | %d | %s | `%s` | `%s` | %s | `%s` | %s |\n",
			p.version, p.listed, p.loadedText(), p.owned, p.orphan, orphan, p.head, learn)
	}
	if err := os.WriteFile(*listingReport, []byte(sb.String()), 0o644); err != nil {
		t.Error(err)
	}
}

func (p *nftProgram) loadedText() string {
	if p.loadsNot() {
		return "no: integers in concatenations are newer"
	}
	return strconv.Itoa(p.loaded)
}
