package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is how a round went.
type report struct {
	title    string
	elapsed  time.Duration
	steps    int
	done     map[string]int
	restarts int
	clocks   int
	limits   int
	changes  int
	denied   int
	missed   int
	repairs  int

	opened, answered uint64
	outside          []failure
	inside           int
	windows          []*window
	injected         map[string]int
}

func (r *round) report(elapsed time.Duration, repairs int) *report {
	rep := &report{
		elapsed: elapsed, steps: r.steps, done: r.done, restarts: r.restarts, clocks: r.clocks, limits: r.limits,
		changes: r.cluster.changes, denied: r.denied, missed: r.missed, repairs: repairs, windows: r.ledger.windows,
		answered: r.ledger.answered,
	}
	for _, w := range r.ledger.windows {
		if w.end.IsZero() { // the round failed in it
			w.end = time.Now()
		}
	}
	rep.outside = r.ledger.judge()
	rep.inside = len(r.ledger.failures) - len(rep.outside)
	for _, n := range r.ledger.opened {
		rep.opened += n
	}
	if l, ok := r.agent.(*loop); ok {
		rep.injected = l.faulty.counts
	}
	return rep
}

func containsRepair(line string) bool {
	return strings.Contains(line, "another process changed the table, which is repaired")
}

// gaps are those of windows, sorted.
func gaps(windows []*window) []time.Duration {
	var all []time.Duration
	for _, w := range windows {
		all = append(all, cmp.Or(w.gap, w.end.Sub(w.begin)))
	}
	slices.Sort(all)
	return all
}

func (r *report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-42s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("adversary's steps", "%d in %.1f s", r.steps, r.elapsed.Seconds())
	for _, name := range slices.Sorted(maps.Keys(r.done)) {
		line("  "+name, "%d", r.done[name])
	}
	line("connections opened", "%d", r.opened)
	line("pings of long-lived ones answered", "%d", r.answered)
	line("failed while the table was damaged", "%d", r.inside)
	line("failed otherwise", "%d", len(r.outside))
	line("changes of manifests", "%d", r.changes)
	line("restarts", "%d (%d with another clock, %d with a memory limit)", r.restarts, r.clocks, r.limits)
	line("repairs told by the agent", "%d", r.repairs)
	line("damages of the table", "%d (%d refused by the kernel, %d found nothing)", len(r.windows), r.denied, r.missed)
	if g := gaps(r.windows); len(g) > 0 {
		line("until the table served again", "p50 %s, at most %s", ms(g[len(g)/2]), ms(g[len(g)-1]))
	}
	for _, w := range r.windows {
		line("  "+w.fault, "%s, %d failed", ms(cmp.Or(w.gap, w.end.Sub(w.begin))), w.failures)
	}
	if r.injected != nil {
		line("injected errors", "%v", r.injected)
	}
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// The marks between which a document has the tables.
const (
	beginMark = "<!-- begin chaos: written by CHAOS_REPORT=docs/reliability.md go test ./proxy/chaos -run Chaos -->\n"
	endMark   = "<!-- end chaos -->\n"
)

// writeReport writes the tables of faults into a document, whose path is absolute
// or begins at the repository's root.
func writeReport(path string, reports []*report) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join("..", "..", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(text), beginMark)
	_, tail, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		return fmt.Errorf("write %s: the marks %q and %q are missing", path, beginMark, endMark)
	}
	var b strings.Builder
	b.WriteString(head + beginMark)
	for _, r := range reports {
		b.WriteString("\n" + r.markdown())
	}
	b.WriteString("\n" + endMark + tail)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// markdown is the round as a table.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s%s\n\n", strings.ToUpper(r.title[:1]), r.title[1:])
	fmt.Fprintf(&b, "%d steps in %.0f s; %d connections opened, %d pings of long-lived ones answered; %d restarts, "+
		"%d of them with another clock, %d with a memory limit near the working set; %d changes of manifests.\n\n",
		r.steps, r.elapsed.Seconds(), r.opened, r.answered, r.restarts, r.clocks, r.limits, r.changes)
	if r.denied > 0 {
		fmt.Fprintf(&b, "%d attempts to change the table were refused by the kernel.\n\n", r.denied)
	}
	if r.injected != nil {
		var kinds []string
		for _, k := range slices.Sorted(maps.Keys(r.injected)) {
			kinds = append(kinds, fmt.Sprintf("%s %d", k, r.injected[k]))
		}
		fmt.Fprintf(&b, "Injected errors: %s.\n\n", strings.Join(kinds, ", "))
	}
	b.WriteString("| fault | times | failed | failed while the table was damaged | until the table serves: p50 | max |\n|---|---|---|---|---|---|\n")
	failed := map[string]int{}
	for _, f := range r.outside {
		failed[f.step]++
	}
	for _, name := range slices.Sorted(maps.Keys(r.done)) {
		if !strings.HasPrefix(name, "table damaged") {
			fmt.Fprintf(&b, "| %s | %d | %d | | | |\n", name, r.done[name], failed[name])
		}
	}
	byFault := map[string][]*window{}
	for _, w := range r.windows {
		byFault[w.fault] = append(byFault[w.fault], w)
	}
	for _, name := range slices.Sorted(maps.Keys(byFault)) {
		windows, inside := byFault[name], 0
		for _, w := range windows {
			inside += w.failures
		}
		g := gaps(windows)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s | %s |\n", name, len(windows), failed[name], inside, ms(g[len(g)/2]), ms(g[len(g)-1]))
	}
	return b.String()
}
