package proxy

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// chunk is how many services one plan holds at most: it bounds the memory and the
// batch of a first load, and the smaller it is, the more of it is computed while the
// kernel takes what came before. 1,000 instead of 500 took 0.3 s longer at 5,000
// Services with 50 endpoints, and 30 MB more. A change touches a few.
const chunk = 500

// sync brings the table up to date with what is dirty: read the kernel if need
// be, then for each chunk of services compute, plan and commit.
func (p *Proxy) sync() (*report, error) {
	r := &report{}
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	if err := p.ensureRead(); err != nil {
		return r, err
	}
	r.read, p.reading = p.reading, 0
	if err := p.reoption(r); err != nil {
		return r, err
	}
	if err := p.syncChunks(r, p.chunks()); err != nil {
		return r, err
	}
	if len(p.dirty) == 0 {
		p.dirty = map[model.ServiceName]struct{}{} // to go through a map costs its capacity
	}
	return r, nil
}

// readAhead reads the table while sources still deliver what they have: a restart
// then waits for the longer of the two. What fails here is tried again by sync.
func (p *Proxy) readAhead() {
	if p.adopted {
		return
	}
	if err := p.read(); err != nil {
		p.log.V(1).Info("can't read the table yet", "reason", err.Error())
	}
}

// ensureRead reads the table if nothing is known of it, or if what was read ahead
// may be old.
func (p *Proxy) ensureRead() error {
	if p.adopted && !p.synced && p.watcher != nil {
		g, err := p.watcher.Generation()
		p.adopted = err == nil && g.ID == p.generation
	}
	if p.adopted {
		return nil
	}
	return p.read()
}

// read takes the kernel's table for what there is.
func (p *Proxy) read() error {
	start := time.Now()
	read, err := adopt(p.dataplane, p.tracker)
	if err != nil {
		return fmt.Errorf("read table %s: %w", p.config.Table, err)
	}
	p.tally.elements, p.generation = read.elements, read.generation
	p.adopted = true
	p.markAll()
	p.lastRead = time.Since(start)
	p.reading += p.lastRead
	if p.suspicious {
		p.lastLook = time.Now()
	}
	return nil
}

type serviceChunk struct {
	names []model.ServiceName
	last  bool
}

// chunks splits what is dirty, in a stable order. There is always a last one:
// without services it still brings the fixed part up to date.
func (p *Proxy) chunks() []serviceChunk {
	var chunks []serviceChunk
	maps.DeleteFunc(p.dirty, func(name model.ServiceName, _ struct{}) bool { return p.quarantine.has(name) })
	dirty := slices.SortedFunc(maps.Keys(p.dirty), model.ServiceName.Compare)
	for names := range slices.Chunk(dirty, p.quarantine.chunk()) {
		chunks = append(chunks, serviceChunk{names: names})
	}
	if len(chunks) == 0 {
		return []serviceChunk{{last: true}}
	}
	chunks[len(chunks)-1].last = true
	return chunks
}

// syncChunks brings all services of the chunks up to date.
func (p *Proxy) syncChunks(r *report, chunks []serviceChunk) error {
	if len(chunks) > 1 && !p.tracker.HasTable() {
		return p.load(r, chunks)
	}
	for _, c := range chunks {
		plan := p.plan(r, &c)
		if err := p.commit(r, plan); err != nil {
			return asRefusal(err, c.names)
		}
		p.done(r, &c)
	}
	return nil
}

// plan computes what brings a chunk's services up to date. Those that win or lose
// a frontend by it join the chunk.
func (p *Proxy) plan(r *report, c *serviceChunk) *ruleset.Plan {
	start := time.Now()
	names := c.names
	for i := 0; i < len(names); i++ {
		desired := p.desire(names[i])
		affected := p.tracker.Set(names[i], desired)
		p.noteDesired(names[i], &desired)
		for _, name := range affected {
			if !slices.Contains(names, name) && !p.quarantine.has(name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names { // now that all of them are set
		p.noteConflicts(name)
	}
	c.names = names
	plan := p.tracker.Plan(c.last)
	r.compute += time.Since(start)
	return plan
}

// done says that the kernel has what the chunk's services want.
func (p *Proxy) done(r *report, c *serviceChunk) {
	for _, name := range c.names {
		delete(p.dirty, name)
	}
	r.services += len(c.names)
}

// desire computes what a service wants: nothing, if it is gone.
func (p *Proxy) desire(name model.ServiceName) ruleset.Desired {
	svc := p.cluster.services[name]
	if svc == nil {
		return ruleset.Desired{}
	}
	return ruleset.Desire(svc, p.cluster.byService[name], &p.locality, p.tracker.Options())
}

// commit sends the plan's transactions, and hands on what has to follow.
func (p *Proxy) commit(r *report, plan *ruleset.Plan) error {
	p.precede(r, plan)
	for _, tx := range plan.Transactions {
		p.keepBindings(tx)
		if err := p.send(r, tx); err != nil {
			return err
		}
	}
	p.tracker.Commit(plan)
	p.follow(plan)
	return nil
}

// precede hands on what others must know before a plan is committed.
func (p *Proxy) precede(r *report, plan *ruleset.Plan) {
	p.amendFlows(plan.Flows)
	p.mending = p.mending || r.read > 0 && !plan.IsEmpty()
}

// follow hands on what has to follow a plan that is committed.
func (p *Proxy) follow(plan *ruleset.Plan) {
	if p.bindings != nil {
		p.bindings.Enforce(p.tracker.Options(), plan.Bindings)
		if p.tracker.Learns() {
			p.bindings.Use(p.tracker.Options())
		}
	}
	p.cleanFlows(plan.Flows)
}

// send commits one transaction.
func (p *Proxy) send(r *report, tx *nft.Transaction) error {
	p.keepCounters(tx)
	return p.note(r, p.transact(tx))
}

// outcome is what became of a transaction.
type outcome struct {
	transaction *nft.Transaction
	result      kernel.Result
	err         error
	took        time.Duration
}

// transact sends a transaction to the kernel. It touches nothing of the loop's.
func (p *Proxy) transact(tx *nft.Transaction) outcome {
	if v := p.log.V(4); v.Enabled() {
		for _, line := range tx.Lines() {
			v.Info(line)
		}
	}
	start := time.Now()
	result, err := p.dataplane.Commit(tx)
	return outcome{tx, result, err, time.Since(start)}
}

// note takes a transaction's outcome into account, and returns its error.
func (p *Proxy) note(r *report, o outcome) error {
	p.noteTransaction(o.transaction, o.result, o.err)
	r.commit += o.took
	if o.result.Generation != 0 {
		p.generation = o.result.Generation
	}
	if o.err != nil {
		return fmt.Errorf("commit: %w", o.err)
	}
	p.history.transacted(o.transaction, o.result, o.took)
	r.transactions++
	r.elements += o.transaction.ElementCount()
	r.operations += o.result.Operations
	r.bytes += o.result.Bytes
	return nil
}

// report is what one step did.
type report struct {
	services, transactions, elements, operations, bytes int
	read, compute, commit                               time.Duration
	took                                                time.Duration // in all; less than the sum if things went on at once
}

// log writes one line per step that wrote, at -v 2.
func (r *report) log(log logr.Logger) {
	if r.transactions == 0 {
		return
	}
	log.V(2).Info("transaction", "services", r.services, "transactions", r.transactions,
		"elements", r.elements, "operations", r.operations, "bytes", r.bytes,
		"compute", r.compute.String(), "commit", r.commit.String())
}
