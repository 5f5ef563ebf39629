package ruleset

import (
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
)

// structure is the fixed part of the table: sets, chains and rules.
type structure struct {
	table *nft.Table // without the elements of services; nil: there is no table
	sets  map[*family]*sets
	shape *shape
	// complete: it is what the options ask for, so only a new shape changes it.
	complete bool
}

// shapeFor is the shape with the chains that the wanted verdicts lead to: the
// one that is there, if it has them all.
func (pl *planner) shapeFor(changes []change) *shape {
	s := pl.have.shape
	need := func(missing bool, add func()) {
		if !missing {
			return
		}
		if s == pl.have.shape {
			s = s.clone()
		}
		add()
	}
	for i := range changes {
		w, f := changes[i].want, familyOf(changes[i].key.Addr)
		pool, local := w.pool.balancer(f, false), w.local.balancer(f, true)
		need(pool.class > 0 && !s.hasBalancer(pool), func() { s.addBalancer(pool) })
		need(local.class > 0 && !s.hasBalancer(local), func() { s.addBalancer(local) })
		need(w.firewall && !s.firewall, func() { s.firewall = true })
		need(w.learn > 0 && !s.hasLearn(w.learn), func() { s.addLearn(w.learn) })
	}
	return s
}

// begin begins the transactions with what changes in the structure: nothing, on
// the hot path.
func (pl *planner) begin(want *shape) {
	p := pl.plan
	p.structure = pl.have.structure
	if pl.have.complete && want == pl.have.shape {
		pl.first, pl.second = nft.NewTransaction(p.structure.table), nft.NewTransaction(p.structure.table)
		return
	}
	table, fs := skeleton(&pl.opts, want)
	hooked := pl.plan.last || hasBaseChains(pl.have.table)
	if !hooked {
		table.Chains = slices.DeleteFunc(table.Chains, func(c *nft.Chain) bool { return c.Base != nil })
	}
	p.structure = structure{table: table, sets: fs, shape: want, complete: hooked}
	pl.first, pl.second = nft.Diff(pl.have.table, table), nft.NewTransaction(table)
}

func hasBaseChains(t *nft.Table) bool {
	return t != nil && slices.ContainsFunc(t.Chains, func(c *nft.Chain) bool { return c.Base != nil })
}

// reload is the way where the table has to be replaced: the transaction that
// makes the new one loads all elements into it, so that no packet meets a table
// without them.
func (pl *planner) reload(changes []change) {
	p := pl.plan
	for i := range changes {
		pl.decided(&changes[i])
	}
	load := func(entries map[frontendKey]*entry, skip map[frontendKey]*entry) {
		for k, e := range entries {
			s := p.structure.sets[familyOf(k.Addr)]
			if _, skipped := skip[k]; s != nil && e != nil && !skipped {
				e.elements(k, s)
			}
		}
	}
	load(pl.have.entries, p.entries)
	load(p.entries, nil)
	for i, a := range pl.addressSets() {
		p.addresses[i] = a.additions()
	}
	for _, f := range pl.opts.families() {
		s := p.structure.sets[f]
		for _, a := range pl.addressSets() {
			a.in(s).Elements = addressElements(f, a.union(), a.element)
		}
		for _, set := range s.ofServices() {
			pl.first.AddElements(set, set.Elements...)
			set.Elements = nil
		}
	}
}
