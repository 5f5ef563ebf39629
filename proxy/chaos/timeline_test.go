package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// timeline writes what happened, in the order of time, into a file and names it:
// the agents' logs, commits, windows and failures.
func (r *round) timeline(rep *report) string {
	var lines []string
	add := func(at time.Time, format string, args ...any) {
		lines = append(lines, at.UTC().Format("15:04:05.000000 ")+fmt.Sprintf(format, args...))
	}
	if p, ok := r.agent.(*process); ok {
		for _, l := range p.past {
			lines = append(lines, l.timed()...)
		}
	}
	r.observer.mu.Lock()
	for _, c := range r.observer.commits {
		add(c.at, "COMMIT foreign %v missed %v", c.foreign, c.missed)
	}
	r.observer.mu.Unlock()
	for _, w := range rep.windows {
		add(w.begin, "DAMAGE begins: %s", w.fault)
		add(w.end, "DAMAGE ends: %s", w.fault)
	}
	for _, f := range rep.outside {
		add(f.end, "FAILED %s", f)
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:12], b[:12]) })
	file, err := os.CreateTemp("", "chaos-*.log")
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	for _, line := range lines {
		fmt.Fprintln(file, line)
	}
	return file.Name()
}

// timed are the lines that begin with a time, by the time of day.
func (l *log) timed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.lines {
		if _, rest, ok := strings.Cut(line, "T"); ok && strings.HasPrefix(line, "time=") {
			lines = append(lines, strings.Replace(rest, "Z", "", 1))
		}
	}
	return lines
}
