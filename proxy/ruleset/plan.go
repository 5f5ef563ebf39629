package ruleset

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Plan is a step from what the kernel has to what services want: one
// transaction, and a second one where backends go into slots that the first one
// empties.
type Plan struct {
	Transactions []*nft.Transaction
	// Bindings and Flows say what has to follow when the plan is committed:
	// session-affinity bindings and conntrack flows that lead to backends which
	// serve no more.
	Bindings []BindingRule
	Flows    []FlowRule

	structure structure
	entries   map[model.FrontendKey]*entry // as they are then; nil: gone
	services  []model.ServiceName
	last      bool
	addresses [addressSetCount]addressChange
}

// IsEmpty reports whether nothing has to be written.
func (p *Plan) IsEmpty() bool { return len(p.Transactions) == 0 }

// Services are those that the plan brings up to date, sorted.
func (p *Plan) Services() []model.ServiceName { return p.services }

// Plan computes the next step. While more services are to be set, last is false:
// then frontends that nobody wants stay, since one to come may want them, and
// base chains that do not exist are not added, so that a table that is loaded in
// steps takes effect when it is complete.
//
// Plan changes nothing. When all its transactions are committed, call Commit;
// after a failure Plan again, or Adopt what the kernel has.
func (t *Tracker) Plan(last bool) *Plan {
	p := &Plan{entries: map[model.FrontendKey]*entry{}, last: last}
	p.services = slices.SortedFunc(maps.Keys(t.pending), model.ServiceName.Compare)
	pl := &planner{Tracker: t, plan: p}
	changes := pl.changes()
	pl.begin(pl.shapeFor(changes))
	if pl.first.ReplacesTable() {
		pl.reload(changes)
	} else {
		pl.update(changes)
	}
	for _, tx := range []*nft.Transaction{pl.first, pl.second} {
		if !tx.IsEmpty() {
			p.Transactions = append(p.Transactions, tx)
		}
	}
	return p
}

// Commit says that the kernel has taken all transactions of the plan.
func (t *Tracker) Commit(p *Plan) {
	t.have.structure = p.structure
	for k, e := range p.entries {
		if e == nil {
			delete(t.have.entries, k)
		} else {
			t.have.entries[k] = e
		}
		delete(t.touched, k)
	}
	// To go through a map costs its capacity: after a load it must not stay large.
	t.pending = map[model.ServiceName]Desired{}
	if len(t.touched) == 0 {
		t.touched = map[model.FrontendKey]struct{}{}
	}
	for i, a := range t.addressSets() {
		a.commit(p.addresses[i], p.last)
	}
	t.have.strays = nil
	t.adopting = t.adopting && !p.last
}

// planner computes one plan.
type planner struct {
	*Tracker
	plan          *Plan
	first, second *nft.Transaction
}

// change is one frontend with what is there and what is wanted.
type change struct {
	key         model.FrontendKey
	have, want  *entry
	frontend    *Frontend // nil: it goes
	pool, local Assignment
}

// changes lists, sorted, the frontends that may differ and can be decided now.
func (pl *planner) changes() []change {
	wanted := map[model.FrontendKey]*Frontend{}
	for name, d := range pl.pending {
		for i := range d.Frontends {
			f := &d.Frontends[i]
			if _, seen := wanted[f.Key]; !seen && pl.claims.Owner(f.Key).Name == name {
				wanted[f.Key] = f
			}
		}
	}
	changes := make([]change, 0, len(pl.touched))
	for k := range pl.touched {
		f := wanted[k]
		if f == nil && (pl.claims.Owner(k) != nil || !pl.plan.last) {
			continue // its owner is to be set, or may still come
		}
		changes = append(changes, pl.decide(k, f))
	}
	slices.SortFunc(changes, func(a, b change) int { return a.key.Compare(b.key) })
	return changes
}

// decide compares one frontend with what the kernel has.
func (pl *planner) decide(k model.FrontendKey, f *Frontend) change {
	c := change{key: k, have: pl.have.entries[k], frontend: f}
	if c.have == nil {
		c.have = newEntry()
	}
	var backends, local []model.Backend
	if f != nil {
		backends, local = f.Backends, f.Local
	}
	c.pool = assign(&c.have.pool, backends, f != nil)
	c.local = assign(&c.have.local, local, len(local) > 0)
	c.want = wantEntry(f, &c.pool, &c.local)
	return c
}

// assign places the backends; a pool that is not wanted has class 0.
func assign(have *pool, backends []model.Backend, wanted bool) Assignment {
	if !wanted && have.class == 0 && len(have.slots) == 0 {
		return Assignment{}
	}
	a := Assign(have.slots, have.class, backends)
	if !wanted {
		a.Class = 0
	}
	return a
}

// update adds the operations on elements.
func (pl *planner) update(changes []change) {
	for i := range changes {
		c := &changes[i]
		if s := pl.plan.structure.sets[familyOf(c.key.Addr)]; s != nil {
			pl.frontend(c, s)
		}
		pl.decided(c)
	}
	for i := range pl.have.strays {
		if s := pl.plan.structure.table.Set(pl.have.strays[i].set); s != nil {
			pl.first.DeleteElementsFirst(s, pl.have.strays[i].element)
		}
	}
	pl.updateAddresses()
}

// decided notes what the frontend is after the plan.
func (pl *planner) decided(c *change) {
	pl.plan.entries[c.key] = c.want
	if c.want.isZero() {
		pl.plan.entries[c.key] = nil
	}
	pl.report(c)
}

// frontend adds the element operations of one frontend.
func (pl *planner) frontend(c *change, s *sets) {
	k := key(c.key)
	pl.slots(s.backends, k, &c.pool)
	pl.slots(s.localBackends, k, &c.local)
	f := familyOf(c.key.Addr)
	have, want := c.have.verdicts(f, s), c.want.verdicts(f, s)
	for i := range have {
		pl.verdict(k, &have[i], &want[i])
	}
	pl.firewall(s, k, c)
}

func (pl *planner) slots(set *nft.Set, k nft.Value, a *Assignment) {
	for _, e := range a.Replace {
		pl.first.ReplaceElement(set, slotElement(k, e.Slot, e.Backend))
	}
	for _, e := range a.Add {
		pl.first.AddElements(set, slotElement(k, e.Slot, e.Backend))
	}
	for _, slot := range a.Delete {
		pl.first.DeleteElements(set, nft.Element{Key: k.Mark(slot)})
	}
	for _, e := range a.Later {
		pl.second.AddElements(set, slotElement(k, e.Slot, e.Backend))
	}
}

func (pl *planner) verdict(k nft.Value, have, want *verdictElement) {
	none := nft.Verdict{}
	e := nft.Element{Key: k, Verdict: want.verdict, Comment: want.comment}
	switch {
	case have.verdict == none && want.verdict == none:
	case have.verdict == none:
		pl.first.AddElements(want.set, e)
	case want.verdict == none:
		pl.first.DeleteElements(have.set, nft.Element{Key: k})
	case have.verdict != want.verdict || have.comment != want.comment:
		pl.first.ReplaceElement(want.set, e)
	}
}

func (pl *planner) firewall(s *sets, k nft.Value, c *change) {
	have, want := c.have, c.want
	for _, p := range have.sources {
		if !hasPrefix(want.sources, p) {
			pl.first.DeleteElements(s.allowedSources, sourceElement(k, p))
		}
	}
	for _, p := range want.sources {
		if !hasPrefix(have.sources, p) {
			pl.first.AddElements(s.allowedSources, sourceElement(k, p))
		}
	}
	switch {
	case want.firewall && !have.firewall:
		pl.first.AddElements(s.firewalled, nft.Element{Key: k})
	case !want.firewall && have.firewall:
		pl.first.DeleteElements(s.firewalled, nft.Element{Key: k})
	}
}

// hasPrefix looks a prefix up in a sorted list.
func hasPrefix(sorted []netip.Prefix, p netip.Prefix) bool {
	_, found := slices.BinarySearchFunc(sorted, p, comparePrefixes)
	return found
}

// report notes what others must do about the change: conntrack and bindings.
func (pl *planner) report(c *change) {
	if rule, ok := c.bindings(); ok {
		pl.plan.Bindings = append(pl.plan.Bindings, rule)
	}
	if flows, ok := c.flows(pl.adopting); ok {
		pl.plan.Flows = append(pl.plan.Flows, flows)
	}
}

// serves reports whether the backend stays with, or comes to, the frontend.
func (c *change) serves(b model.Backend) bool {
	if c.frontend == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(c.frontend.Backends, b, model.Backend.Compare)
	if !found {
		_, found = slices.BinarySearchFunc(c.frontend.Local, b, model.Backend.Compare)
	}
	return found
}

// updateAddresses brings the sets of addresses up to date.
func (pl *planner) updateAddresses() {
	p := pl.plan
	for i, a := range pl.addressSets() {
		c := a.next(p.last)
		p.addresses[i] = c
		for _, f := range pl.opts.families() {
			set := a.in(p.structure.sets[f])
			pl.first.AddElements(set, addressElements(f, c.add, a.element)...)
			pl.first.DeleteElements(set, addressElements(f, c.del, a.element)...)
		}
	}
}
