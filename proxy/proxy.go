package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/affinity"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Proxy keeps the table. New makes it, Run runs it once.
type Proxy struct {
	node      string // its name
	log       logr.Logger
	sources   []source.Source
	dataplane Dataplane
	bindings  *affinity.Keeper
	flows     FlowCleaner
	counters  CounterReader
	watcher   Watcher
	complete  []func()

	instruments Instruments

	inbox   *inbox
	calls   chan call
	foreign chan foreign
	loop
}

// loop is the state that the loop's goroutine owns.
type loop struct {
	config   Config
	cluster  *cluster
	tracker  *ruleset.Tracker
	locality ruleset.Locality
	dirty    map[model.ServiceName]struct{}

	adopted    bool   // the tracker knows what the kernel has
	synced     bool   // the table was complete once
	generation uint32 // of the ruleset when it was last read or written
	monitor    *kernel.Monitor
	mending    bool              // the table was read, and was not as it should be
	suspicious bool              // another process may have changed the table
	intruder   kernel.Generation // who committed to the table, until it is repaired

	quarantine quarantine
	tally      tally
	history    history

	retry    backoff
	last     time.Time     // end of the last step
	lastRead time.Duration // how long it took to read the table
	reading  time.Duration // what was read since the last sync took
	lastLook time.Time     // when it was last read because of a foreign change
}

// call is work that another goroutine asks the loop to do.
type call struct {
	do   func() error
	done chan error
}

// New makes a proxy that takes its objects from the sources and writes to the
// dataplane. It starts nothing.
func New(config Config, dataplane Dataplane, log logr.Logger, sources ...source.Source) *Proxy {
	p := &Proxy{
		node: config.NodeName, log: log, sources: sources, dataplane: dataplane,
		instruments: defaultInstruments(),
		inbox:       newInbox(), calls: make(chan call), foreign: make(chan foreign),
		loop: loop{
			config:  config,
			cluster: newCluster(),
			dirty:   map[model.ServiceName]struct{}{},

			quarantine: newQuarantine(),
			tally:      newTally(),
			retry:      backoff{first: 5 * time.Millisecond, most: time.Second},
		},
	}
	p.tracker = ruleset.NewTracker(config.options(p.cluster))
	p.locality = config.locality(p.cluster)
	return p
}

// EnforceBindings makes backends that leave lose their session-affinity bindings.
// The reader is used by another goroutine than the dataplane's. Call it before Run.
func (p *Proxy) EnforceBindings(reader affinity.Reader) {
	p.bindings = affinity.New(reader, p.commitFor, p.countBindings, p.log.WithName("affinity"))
}

// WhenComplete adds what is to be done, beside the loop, when the table is complete
// for the first time. Call it before Run.
func (p *Proxy) WhenComplete(do func()) { p.complete = append(p.complete, do) }

// Run programs the table until the context ends, and leaves it in place. It
// fails if a source can't begin; failures of the kernel are retried.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := p.workers()
	ended := make(chan error, len(workers))
	for _, run := range workers {
		go func() { ended <- run(ctx) }()
	}
	running := len(workers)
	p.history.started = time.Now()
	defer func() {
		cancel()
		p.unwatch()
		for range running {
			if err := <-ended; err != nil {
				p.log.Error(err, "end a worker")
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			running--
			if err == nil && ctx.Err() == nil {
				err = errors.New("a worker ended")
			}
			return err
		case <-p.inbox.poke:
			if !p.pause(ctx) {
				return nil
			}
			p.step()
		case <-p.retry.C():
			p.step()
		case f := <-p.foreign:
			p.foreignChange(f)
		case c := <-p.calls:
			c.done <- c.do()
		}
		if p.synced {
			p.watch(ctx)
		}
	}
}

// workers are what runs beside the loop.
func (p *Proxy) workers() []func(context.Context) error {
	var workers []func(context.Context) error
	sinks := make([]source.Sink, len(p.sources))
	for i := range p.sources {
		sinks[i] = p.inbox.sink()
	}
	for i, s := range p.sources {
		workers = append(workers, func(ctx context.Context) error {
			if err := s.Run(ctx, sinks[i]); err != nil {
				return fmt.Errorf("watch objects: %w", err)
			}
			return nil
		})
	}
	if p.bindings != nil {
		workers = append(workers, p.bindings.Run)
	}
	if p.flows != nil {
		workers = append(workers, p.flows.Run)
	}
	return workers
}

// commitFor commits a transaction of another goroutine in the loop's.
func (p *Proxy) commitFor(ctx context.Context, tx *nft.Transaction) error {
	return p.call(ctx, func() error {
		return p.send(&report{}, tx)
	})
}

// call makes the loop's goroutine do something, and waits until it is done.
func (p *Proxy) call(ctx context.Context, do func() error) error {
	c := call{done: make(chan error, 1), do: do}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case p.calls <- c:
		return <-c.done
	}
}

// pause collects changes for the coalescing window after the last transaction.
// After a longer quiet time it returns at once. It returns false if the context
// ended.
func (p *Proxy) pause(ctx context.Context) bool {
	wait := p.config.Coalesce - time.Since(p.last)
	if wait <= 0 || !p.synced {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step takes what has come and brings the table up to date.
func (p *Proxy) step() {
	if p.inbox.complete() {
		p.instruments.Health.Began(time.Now())
	}
	update, complete := p.inbox.take()
	p.apply(&update)
	if !complete {
		p.readAhead()
		return
	}
	p.retry.stop()
	report, err := p.sync()
	p.last = time.Now()
	if err != nil {
		p.failed(err)
		return
	}
	p.retry.reset()
	p.quarantine.settle()
	p.history.succeeded()
	p.noteSynced(report)
	switch {
	case !p.synced:
		p.completed(report)
	case p.suspicious && report.transactions > 0:
		p.repaired(report)
	}
	p.recoverFlows()
	p.trust()
	report.log(p.log)
}

// completed says that the table is complete for the first time.
func (p *Proxy) completed(r *report) {
	p.synced = true
	p.history.since = time.Now()
	for _, do := range p.complete {
		go do()
	}
	p.log.Info("table is complete", "table", p.config.Table, "services", len(p.cluster.services),
		"elements", r.elements, "took", r.took.String())
	p.record(p.nodeRef(), Normal, reasonStarted, fmt.Sprintf(
		"the nftables table inet %s is complete; Services: %d", p.config.Table, len(p.cluster.services)))
}

// failed makes the next step read the table, and finds out whom the failure is
// due to.
func (p *Proxy) failed(err error) {
	p.adopted = false
	p.history.failed(err)
	p.instruments.Metrics.SyncFailed()
	if name, aside := p.blame(err); aside {
		p.record(serviceRef(name), Warning, reasonRefused, err.Error())
		p.log.Error(err, "the kernel refuses a service: it is quarantined until its objects change", "service", name.String())
		p.retry.reset()
	}
	p.log.Error(err, "sync failed, will read the table and retry", "after", p.retry.start().String())
}

// apply takes an update into the cluster and marks what it touches.
func (p *Proxy) apply(u *model.Update) {
	touched, host := p.cluster.apply(u)
	if len(p.dirty) == 0 {
		p.dirty = make(map[model.ServiceName]struct{}, len(touched))
	}
	for _, name := range touched {
		p.dirty[name] = struct{}{}
		p.quarantine.release(name)
	}
	p.noteUpdate(u)
	p.noteHealthPorts(touched)
	if host {
		p.hostChanged()
	}
}

// hostChanged takes over what concerns all services: where the node is, and what
// may be served there. The ruleset's options follow with the next step.
func (p *Proxy) hostChanged() {
	locality := p.config.locality(p.cluster)
	if locality.Equal(&p.locality) {
		return
	}
	p.locality = locality
	p.instruments.Ports.SetNodeAddrs(locality.NodePortAddrs)
	p.markAll()
}

func (p *Proxy) markAll() {
	for name := range p.cluster.services {
		p.dirty[name] = struct{}{}
	}
}

func isInterrupted(err error) bool { return errors.Is(err, kernel.ErrInterrupted) }
