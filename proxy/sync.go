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
// batch of a first load. A change touches a few.
const chunk = 1000

// sync brings the table up to date with what is dirty: read the kernel if need
// be, then for each chunk of services compute, plan and commit.
func (p *Proxy) sync() (*report, error) {
	r := &report{}
	if !p.adopted {
		start := time.Now()
		read, err := adopt(p.dataplane, p.tracker)
		if err != nil {
			return r, fmt.Errorf("read table %s: %w", p.config.Table, err)
		}
		p.tally.elements, p.generation = read.elements, read.generation
		p.adopted = true
		p.markAll()
		r.read = time.Since(start)
		p.lastRead = r.read
		if p.suspicious {
			p.lastLook = time.Now()
		}
	}
	if err := p.reoption(r); err != nil {
		return r, err
	}
	for _, names := range p.chunks() {
		if err := p.syncChunk(r, names.names, names.last); err != nil {
			return r, err
		}
	}
	if len(p.dirty) == 0 {
		p.dirty = map[model.ServiceName]struct{}{} // to go through a map costs its capacity
	}
	return r, nil
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

// syncChunk brings some services up to date, and those that win or lose a
// frontend by it.
func (p *Proxy) syncChunk(r *report, names []model.ServiceName, last bool) error {
	start := time.Now()
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
	plan := p.tracker.Plan(last)
	r.compute += time.Since(start)
	if err := p.commit(r, plan); err != nil {
		return asRefusal(err, names)
	}
	for _, name := range names {
		delete(p.dirty, name)
	}
	r.services += len(names)
	return nil
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
	p.amendFlows(plan.Flows)
	p.mending = p.mending || r.read > 0 && !plan.IsEmpty()
	for _, tx := range plan.Transactions {
		p.keepBindings(tx)
		start := time.Now()
		result, err := p.send(tx)
		r.commit += time.Since(start)
		if err != nil {
			return err
		}
		r.transactions++
		r.elements += tx.ElementCount()
		r.operations += result.Operations
		r.bytes += result.Bytes
	}
	p.tracker.Commit(plan)
	if p.bindings != nil {
		p.bindings.Enforce(p.tracker.Options(), plan.Bindings)
		if p.tracker.Learns() {
			p.bindings.Use(p.tracker.Options())
		}
	}
	p.cleanFlows(plan.Flows)
	return nil
}

// send commits one transaction.
func (p *Proxy) send(tx *nft.Transaction) (kernel.Result, error) {
	if v := p.log.V(4); v.Enabled() {
		for _, line := range tx.Lines() {
			v.Info(line)
		}
	}
	p.keepCounters(tx)
	start := time.Now()
	result, err := p.dataplane.Commit(tx)
	p.noteTransaction(tx, result, err)
	if err == nil {
		p.history.transacted(tx, result, time.Since(start))
	}
	if result.Generation != 0 {
		p.generation = result.Generation
	}
	if err != nil {
		return result, fmt.Errorf("commit: %w", err)
	}
	return result, nil
}

// report is what one step did.
type report struct {
	services, transactions, elements, operations, bytes int
	read, compute, commit                               time.Duration
}

func (r *report) total() time.Duration { return r.read + r.compute + r.commit }

// log writes one line per step that wrote, at -v 2.
func (r *report) log(log logr.Logger) {
	if r.transactions == 0 {
		return
	}
	log.V(2).Info("transaction", "services", r.services, "transactions", r.transactions,
		"elements", r.elements, "operations", r.operations, "bytes", r.bytes,
		"compute", r.compute.String(), "commit", r.commit.String())
}
