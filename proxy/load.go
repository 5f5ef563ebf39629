package proxy

import "github.com/kube-vmap/kube-vmap/proxy/ruleset"

// shipment is a plan on its way into the kernel.
type shipment struct {
	chunk    serviceChunk
	plan     *ruleset.Plan
	outcomes chan []outcome // one value, when it has arrived or failed
}

// load is how the chunks of a table get into the kernel that is not there yet: the
// next is computed while the kernel takes one. Nobody sees the table before its last
// chunk, which hooks it into the packet path, and an error at any of them makes the
// next step read what there is.
func (p *Proxy) load(r *report, chunks []serviceChunk) error {
	p.tracker.Reserve(len(p.cluster.services))
	var sent *shipment
	for _, c := range chunks {
		plan := p.plan(r, &c)
		if err := p.receive(r, sent); err != nil {
			return err
		}
		sent = p.ship(r, c, plan)
	}
	return p.receive(r, sent)
}

// ship sends a plan's transactions, and goes on as if they were committed.
func (p *Proxy) ship(r *report, c serviceChunk, plan *ruleset.Plan) *shipment {
	p.precede(r, plan)
	p.tracker.Commit(plan)
	s := &shipment{chunk: c, plan: plan, outcomes: make(chan []outcome, 1)}
	go func() {
		var list []outcome
		for _, tx := range plan.Transactions {
			o := p.transact(tx)
			if list = append(list, o); o.err != nil {
				break
			}
		}
		s.outcomes <- list
	}()
	return s
}

// receive waits for a shipment, if there is one.
func (p *Proxy) receive(r *report, s *shipment) error {
	if s == nil {
		return nil
	}
	for _, o := range <-s.outcomes {
		if err := p.note(r, o); err != nil {
			return asRefusal(err, s.chunk.names)
		}
	}
	p.done(r, &s.chunk)
	p.follow(s.plan)
	return nil
}
