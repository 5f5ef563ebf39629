package proxy

import (
	"context"

	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// FlowCleaner deletes UDP flows that lead to backends which serve no more;
// *conntrack.Cleaner is it.
type FlowCleaner interface {
	Amend([]conntrack.Frontend) // before the table changes
	Clean([]conntrack.Frontend) // after it changed
	Run(ctx context.Context) error
}

var _ FlowCleaner = (*conntrack.Cleaner)(nil)

// CleanFlows makes UDP flows of backends that leave go. Call it before Run.
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

func flowsOf(rules []ruleset.FlowRule, wanted func(*ruleset.FlowRule) bool) []conntrack.Frontend {
	var list []conntrack.Frontend
	for i := range rules {
		if r := &rules[i]; wanted(r) {
			list = append(list, conntrack.Frontend{Key: r.Key, Serving: r.Serving})
		}
	}
	return list
}
