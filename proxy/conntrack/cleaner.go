package conntrack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Frontend says which flows of a UDP frontend stay.
type Frontend struct {
	Key model.FrontendKey
	// Serving are all backends whose flows stay, terminating ones that still serve
	// included, sorted by netip.AddrPort.Compare. Nobody changes the list afterwards.
	Serving []model.Backend
}

// Options of a Cleaner.
type Options struct {
	// NetNS is the descriptor of a network namespace, 0 for the one that Run is
	// called in. It stays open while Run runs.
	NetNS int
	Log   logr.Logger
	// OnDeleted is told of each number of flows deleted, 1 or more, on Run's
	// goroutine. It may be nil.
	OnDeleted func(n int)
}

// Cleaner deletes flows that lead to backends which serve no more. Its methods
// may be called from any goroutine.
type Cleaner struct {
	Options
	flows flowTable
	pace  pace // Run's
	poke  chan struct{}

	mu       sync.Mutex // between those who ask and Run
	requests requests
	recovery *recovery // nil: none is asked for
}

// flowTable is what a Cleaner needs of the kernel; *ctnetlink is it. One goroutine
// uses it. After an error it can be used again.
type flowTable interface {
	// dump visits the flows that the filter lets through, and maybe others. A flow
	// may be visited twice, and is valid until visit returns.
	dump(f filter, visit func(*flow) error) error
	// delete notes a flow to be deleted, and may delete all that were noted.
	delete(f *flow) error
	// flush deletes what was noted, and returns the number of flows deleted since
	// the last flush: with an error as well. It is no error if a flow is gone already.
	flush() (deleted int, err error)
	close()
}

// New makes a Cleaner. It starts nothing.
func New(o Options) *Cleaner {
	return &Cleaner{
		Options: o, flows: &ctnetlink{netns: o.NetNS},
		poke: make(chan struct{}, 1), requests: requests{},
	}
}

// Clean asks for the flows of frontends to be brought in line with what serves,
// and returns at once. Frontends of other protocols than UDP are passed over. A
// request for a frontend that waits already replaces it. Call it when a backend
// stopped serving, when no backend is left, and when the first one appeared: after
// the table was changed.
func (c *Cleaner) Clean(frontends []Frontend) {
	now := time.Now()
	c.change(frontends, func(f *Frontend) { c.requests.add(f, now) })
	c.wake()
}

func (c *Cleaner) wake() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// Amend changes what serves in requests that still wait, for their repetition or
// because of an error, and asks for nothing where none does. Call it when a
// backend comes to a frontend, before the table is changed: a request from before
// would take the new backend's flows for old ones.
func (c *Cleaner) Amend(frontends []Frontend) {
	c.change(frontends, c.requests.amend)
}

func (c *Cleaner) change(frontends []Frontend, each func(*Frontend)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range frontends {
		if frontends[i].Key.Protocol == model.UDP {
			each(&frontends[i])
		}
	}
}

// Run does the work until the context ends. What fails is logged and tried again,
// at first after 100 ms, in the end each minute; nothing is given up. It fails
// never. It can be run once.
func (c *Cleaner) Run(ctx context.Context) error {
	defer c.flows.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.poke:
		case <-timer.C:
		}
		if wait, more := c.step(); more {
			timer.Reset(wait)
		}
	}
}

// step carries out what is due and returns how long to wait for the rest; more is
// false if nothing waits.
func (c *Cleaner) step() (wait time.Duration, more bool) {
	begin := time.Now()
	if wait = c.pace.earliest.Sub(begin); wait > 0 {
		return wait, true
	}
	if w := c.take(begin); !w.isEmpty() {
		deleted, err := c.pass(&w)
		c.report(begin, &w, deleted, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	due, more := c.requests.next()
	if r := c.recovery; r != nil && (!more || r.due.Before(due)) {
		due, more = r.due, true
	}
	if due.Before(c.pace.earliest) {
		due = c.pace.earliest
	}
	return time.Until(due), more
}

// work is what one pass does.
type work struct {
	batch    batch
	recovery *recovery // nil: none
}

func (w *work) isEmpty() bool { return w.batch == nil && w.recovery == nil }

func (c *Cleaner) take(now time.Time) work {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := work{batch: c.requests.take(now)}
	if r := c.recovery; r != nil && !r.due.After(now) {
		w.recovery = r
	}
	return w
}

// report takes the result of a pass into account.
func (c *Cleaner) report(begin time.Time, w *work, deleted int, err error) {
	end := time.Now()
	if deleted > 0 && c.OnDeleted != nil {
		c.OnDeleted(deleted)
	}
	if err != nil {
		c.pace.failed(end)
		c.Log.Error(err, "conntrack flows that lead nowhere may be left, will retry",
			"frontends", w.frontends(), "deleted", deleted, "after", c.pace.backoff.String())
		return
	}
	c.pace.succeeded(begin, end)
	c.mu.Lock()
	c.done(w, end)
	c.mu.Unlock()
	c.Log.V(1).Info("conntrack is clean", "frontends", w.frontends(), "deleted", deleted, "took", end.Sub(begin).String())
}

func (w *work) frontends() int {
	n := len(w.batch)
	if w.recovery != nil {
		n += len(w.recovery.frontends)
	}
	return n
}

// done counts a pass that is complete.
func (c *Cleaner) done(w *work, now time.Time) {
	c.requests.done(w.batch, now)
	r := w.recovery
	if r == nil || r != c.recovery {
		return // none, or another one has come meanwhile
	}
	if r.passes--; r.passes == 0 {
		c.recovery = nil
	}
	r.due = now.Add(repeatAfter)
}

// pass deletes all stale flows, one family after the other.
func (c *Cleaner) pass(w *work) (deleted int, err error) {
	sweep := func(f filter, goes func(*flow) bool) {
		n, failed := c.sweep(f, goes)
		deleted += n
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("clean conntrack of %s flows: %w", f.family, withHint(failed)))
		}
	}
	for _, f := range w.batch.filters() {
		sweep(f, func(fl *flow) bool { return c.isStale(w.batch, fl) })
	}
	if w.recovery != nil {
		for _, f := range w.recovery.filters() {
			sweep(f, w.recovery.isLost)
		}
	}
	return deleted, err
}

// sweepTries is how often a dump is begun that the kernel broke off.
const sweepTries = 3

// sweep dumps the flows of one family and deletes those that have to go.
func (c *Cleaner) sweep(f filter, goes func(*flow) bool) (deleted int, err error) {
	visit := func(fl *flow) error {
		if goes(fl) {
			return c.flows.delete(fl)
		}
		return nil
	}
	for range sweepTries {
		err = c.flows.dump(f, visit)
		n, failed := c.flows.flush()
		deleted += n
		if err = errors.Join(err, failed); !isInterrupted(err) {
			break
		}
	}
	return deleted, err
}

// isInterrupted reports whether the kernel could not send all, for the moment.
func isInterrupted(err error) bool {
	return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR)
}

// isStale decides. What serves is asked anew for each flow, since it may change
// while the kernel dumps; what the batch doesn't have needs no lock.
func (c *Cleaner) isStale(b batch, f *flow) bool {
	if f.protocol != model.UDP || b[f.destination] == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.requests.serves(f.destination, f.source)
}
