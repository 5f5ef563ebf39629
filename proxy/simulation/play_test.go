package simulation

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// checkEvery is after how many events the real kernel is read, and the proxy
// restarted for no reason.
const checkEvery = 25

// askEvery is after how many events the oracle is asked.
const askEvery = 5

// figures count what was played.
type figures struct{ events, restarts, faults, commits, operations, readBacks, elements, asked int }

func (f *figures) add(o figures) {
	f.events += o.events
	f.restarts += o.restarts
	f.faults += o.faults
	f.commits += o.commits
	f.operations += o.operations
	f.readBacks += o.readBacks
	f.asked += o.asked
	f.elements = max(f.elements, o.elements)
}

// divergence is a table that is not what it should be.
type divergence struct {
	step  int // index of the event after which it showed
	lines []string
}

// player plays one history.
type player struct {
	world     *world
	dataplane *dataplane
	config    proxy.Config
	proxy     *running // nil before the first start
	figures   figures
}

// play plays a history from an empty kernel on, and returns the first
// divergence, nil if there is none. A real kernel is optional; play leaves its
// table behind.
func play(t *testing.T, history []event, real *kernel.Conn) (d *divergence, f figures) {
	synctest.Test(t, func(*testing.T) {
		p := &player{world: newWorld(), dataplane: &dataplane{memory: &memory{}, real: real}}
		defer func() { p.proxy.stop() }()
		for step := range history {
			p.event(&history[step])
			lines := p.check()
			if last := step == len(history)-1; len(lines) == 0 && (last || step%askEvery == 0) {
				lines = p.ask()
			}
			if len(lines) == 0 && step%checkEvery == checkEvery-1 {
				lines = p.checkKernel()
			}
			if len(lines) > 0 {
				d = &divergence{step, lines}
				break
			}
		}
		f = p.figures
		f.commits, f.operations = p.dataplane.commits, p.dataplane.operations
	})
	return d, f
}

// event lets one event happen and waits until the proxy has handled it.
func (p *player) event(e *event) {
	p.figures.events++
	p.dataplane.expect(e.fault)
	if e.fault != noFault {
		p.figures.faults++
	}
	if e.restart != nil {
		p.config = *e.restart
		p.restart()
	}
	for i := range e.updates {
		p.world.apply(&e.updates[i])
		if p.proxy != nil {
			p.proxy.feed.sink.Apply(e.updates[i])
		}
	}
	p.settle(e.fault)
}

// settle lets time pass until the proxy has nothing to do. What waits for a
// retry gets the time for it.
func (p *player) settle(f fault) {
	time.Sleep(p.config.Coalesce)
	synctest.Wait()
	if f != noFault {
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	p.dataplane.expect(noFault) // if it met no transaction
}

// restart ends the proxy and begins another, which gets everything anew.
func (p *player) restart() {
	p.proxy.stop()
	p.figures.restarts++
	p.proxy = start(p.config, p.dataplane, p.world.whole())
	p.settle(noFault)
}

// check compares the table with one that is computed from nothing.
func (p *player) check() []string {
	if p.proxy == nil {
		return nil
	}
	p.dataplane.mu.Lock()
	defer p.dataplane.mu.Unlock()
	lines := p.dataplane.violations
	if len(lines) == 0 {
		have := p.dataplane.memory.copy()
		lines = rulesettest.Compare(have, proxy.Render(p.config, p.world.whole()))
		if have != nil {
			n := 0
			for _, s := range sizes(have) {
				n += s
			}
			p.figures.elements = max(p.figures.elements, n)
		}
	}
	return append(lines, p.proxy.failure()...)
}

// checkKernel compares the real kernel's table with the one in memory, slot by
// slot, and restarts the proxy, which must find nothing to do.
func (p *player) checkKernel() []string {
	if p.proxy == nil {
		return nil
	}
	if lines := p.readBack(); len(lines) > 0 {
		return lines
	}
	before := p.dataplane.commits
	p.restart()
	if n := p.dataplane.commits - before; n > 0 {
		return []string{fmt.Sprintf("! a restart for no reason made %d transactions", n)}
	}
	return p.check()
}

func (p *player) readBack() []string {
	if p.dataplane.real == nil {
		return nil
	}
	p.figures.readBacks++
	want := p.dataplane.memory.copy()
	snapshot, err := p.dataplane.real.ReadTable(want.Name)
	if err != nil {
		return []string{"! " + err.Error()}
	}
	tx := nft.Diff(snapshot.Table, want)
	if tx.IsEmpty() {
		return nil
	}
	return append([]string{"! the real kernel's table is another; to become the one in memory it takes:"}, tx.Lines()...)
}

// running is a proxy that runs.
type running struct {
	feed   *feed
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, when done
	panic  string
}

// feed is a source that the player drives.
type feed struct {
	first model.Update
	sink  source.Sink
}

func (f *feed) Run(ctx context.Context, sink source.Sink) error {
	f.sink = sink
	sink.Apply(f.first)
	sink.Synced()
	<-ctx.Done()
	return nil
}

func start(config proxy.Config, dp proxy.Dataplane, first model.Update) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{feed: &feed{first: first}, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer func() {
			if p := recover(); p != nil {
				r.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
		}()
		r.err = proxy.New(config, dp, logr.Discard(), r.feed).Run(ctx)
	}()
	synctest.Wait()
	return r
}

// stop ends the proxy.
func (r *running) stop() {
	if r != nil {
		r.cancel()
		<-r.done
	}
}

// failure tells why the proxy has ended, if it has.
func (r *running) failure() []string {
	select {
	case <-r.done:
		return []string{fmt.Sprintf("! the proxy ended: %v, panic: %s", r.err, r.panic)}
	default:
		return nil
	}
}

// report tells a divergence and what led to it.
func report(history []event, d *divergence) string {
	var sb strings.Builder
	for i := range history {
		fmt.Fprintf(&sb, "event %d:\n", i)
		for _, line := range history[i].lines() {
			fmt.Fprintf(&sb, "    %s\n", line)
		}
	}
	fmt.Fprintf(&sb, "then:\n")
	const most = 60
	for i, line := range d.lines {
		if i == most {
			fmt.Fprintf(&sb, "    ... and %d lines more\n", len(d.lines)-most)
			break
		}
		fmt.Fprintf(&sb, "    %s\n", line)
	}
	return sb.String()
}

// sizes counts elements for the figures.
func sizes(t *nft.Table) map[string]int {
	n := map[string]int{}
	for _, s := range t.Sets {
		n[s.Name] += len(s.Elements)
	}
	maps.DeleteFunc(n, func(_ string, count int) bool { return count == 0 })
	return n
}
