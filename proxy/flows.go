package proxy

import (
	"context"

	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// FlowCleaner deletes UDP flows that lead to backends which serve no more, and
// flows that began while the table was damaged; *conntrack.Cleaner is it.
type FlowCleaner interface {
	Amend([]conntrack.Frontend)  // before the table changes
	Clean([]conntrack.Frontend)  // after it changed
	Recover([]model.FrontendKey) // after it was put right
	Run(ctx context.Context) error
}

var _ FlowCleaner = (*conntrack.Cleaner)(nil)

// CleanFlows makes flows go that lead nowhere. Call it before Run.
func (p *Proxy) CleanFlows(cleaner FlowCleaner) { p.flows = cleaner }

// amendFlows tells of what will serve, before the table says so.
func (p *Proxy) amendFlows(rules []ruleset.FlowRule) {
	if p.flows != nil && len(rules) > 0 {
		p.flows.Amend(flowsOf(rules, func(*ruleset.FlowRule) bool { return true }))
	}
}

// cleanFlows asks for the flows of backends that the table has lost.
func (p *Proxy) cleanFlows(rules []ruleset.FlowRule) {
	if p.flows == nil {
		return
	}
	if stale := flowsOf(rules, func(r *ruleset.FlowRule) bool { return r.Stale }); len(stale) > 0 {
		p.flows.Clean(stale)
	}
}

// recoverFlows asks for the flows that began before the table was put right.
func (p *Proxy) recoverFlows() {
	if p.mending && p.flows != nil {
		p.flows.Recover(p.tracker.Keys())
	}
	p.mending = false
}

func flowsOf(rules []ruleset.FlowRule, wanted func(*ruleset.FlowRule) bool) []conntrack.Frontend {
	var list []conntrack.Frontend
	for i := range rules {
		if r := &rules[i]; wanted(r) {
			list = append(list, conntrack.Frontend{Key: r.Key, Serving: r.Serving})
		}
	}
	return list
}
