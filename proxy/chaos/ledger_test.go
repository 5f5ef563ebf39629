package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// ledger takes down what connections did, and when the table was damaged. It
// belongs to no goroutine.
type ledger struct {
	mu       sync.Mutex
	step     string // what the adversary is doing
	opened   map[string]uint64
	answered uint64 // pings of long-lived connections
	failures []failure
	windows  []*window
}

// failure is an attempt that got no answer.
type failure struct {
	path       string
	opened     time.Time // when the connection was begun
	begin, end time.Time // of what got no answer
	err        error
	step       string // what the adversary was doing when it ended
}

func (f failure) String() string {
	return fmt.Sprintf("%s: %v, opened %s, failed from %s to %s, during %s", f.path, f.err,
		f.opened.Format("15:04:05.000"), f.begin.Format("15:04:05.000"), f.end.Format("15:04:05.000"), f.step)
}

// window is a time in which the table was damaged by another process.
type window struct {
	fault      string
	begin, end time.Time     // end is zero while it lasts
	gap        time.Duration // from the foreign commit to the commit after which the table serves, 0: not seen
	failures   int
}

func newLedger() *ledger { return &ledger{opened: map[string]uint64{}} }

func (l *ledger) doing(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = step
}

func (l *ledger) fail(path string, opened, begin time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, failure{path, opened, begin, time.Now(), err, l.step})
}

func (l *ledger) open(path string, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened[path] += n
}

func (l *ledger) answer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered++
}

// damage begins a window.
func (l *ledger) damage(fault string) *window {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &window{fault: fault, begin: time.Now()}
	l.windows = append(l.windows, w)
	return w
}

// over ends a window.
func (l *ledger) over(w *window, end time.Time, gap time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.end, w.gap = end, gap
}

// hits reports whether a failure is due to the window: it fell into it, or the
// connection was opened in it. A first packet may pass a table that is half there,
// and its connection is then cut by a later one.
func (w *window) hits(f *failure) bool {
	fell := !f.end.Before(w.begin) && !f.begin.After(w.end)
	return fell || !f.opened.Before(w.begin) && !f.opened.After(w.end)
}

// judge tells the failures that are due to a window from the others. Call it when
// all windows are closed.
func (l *ledger) judge() (outside []failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failures {
		at := slices.IndexFunc(l.windows, func(w *window) bool { return w.hits(&f) })
		if at < 0 {
			outside = append(outside, f)
			continue
		}
		l.windows[at].failures++
	}
	return outside
}

// drop forgets a window: there was no damage.
func (l *ledger) drop(w *window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.windows = slices.DeleteFunc(l.windows, func(o *window) bool { return o == w })
}
