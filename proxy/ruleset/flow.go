package ruleset

import (
	"maps"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// FlowRule says which conntrack flows of a UDP frontend stay: those to backends
// that still serve, although they may get no new connections. (TCP and SCTP
// connections end by themselves.)
type FlowRule struct {
	Key     model.FrontendKey
	Serving []model.Backend // sorted
	// Stale says that there may be other flows, which have to go. It is false where
	// only Serving is new: what is being cleaned must learn of it.
	Stale bool
}

// flows says which flows of the frontend stay, and whether conntrack has to be
// cleaned of others: when a backend that had flows serves no more, when the first backend appears (flows
// that came before go nowhere), and once after a start, since what happened
// before is not known.
func (c *change) flows(adopting bool) (FlowRule, bool) {
	if c.key.Protocol != model.UDP {
		return FlowRule{}, false
	}
	r := FlowRule{Key: c.key}
	if c.frontend != nil {
		r.Serving = c.frontend.Serving
	}
	stopped := func(b model.Backend) bool {
		_, serves := slices.BinarySearchFunc(r.Serving, b, model.Backend.Compare)
		return b.IsValid() && !serves
	}
	had := len(c.have.pool.slots)+len(c.have.local.slots)+len(c.have.lingering) > 0
	r.Stale = adopting || !had && len(r.Serving) > 0 ||
		slices.ContainsFunc(c.have.pool.slots, stopped) ||
		slices.ContainsFunc(c.have.local.slots, stopped) ||
		slices.ContainsFunc(c.have.lingering, stopped)
	return r, true
}

// lingering are the backends of a UDP frontend that serve but get no new
// connections: their flows go when they stop.
func lingering(f *Frontend) []model.Backend {
	if f == nil || f.Key.Protocol != model.UDP {
		return nil
	}
	var list []model.Backend
	for _, b := range f.Serving {
		_, cluster := slices.BinarySearchFunc(f.Backends, b, model.Backend.Compare)
		_, local := slices.BinarySearchFunc(f.Local, b, model.Backend.Compare)
		if !cluster && !local {
			list = append(list, b)
		}
	}
	return list
}

// Keys are the frontends that the kernel has, in no order: those whose flows
// are to be looked at after the table was put right.
func (t *Tracker) Keys() []model.FrontendKey {
	return slices.AppendSeq(make([]model.FrontendKey, 0, len(t.have.entries)), maps.Keys(t.have.entries))
}
