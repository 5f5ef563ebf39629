package ruleset

import (
	"maps"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Tracker holds two views of the table and finds the way from one to the other:
// what services want (Set), and what the kernel has (Adopt, Commit). Its memory
// is the kernel's view in compact form and who claims what; what services want
// is kept only until it is committed.
//
// A Tracker belongs to one goroutine.
type Tracker struct {
	opts   Options
	claims *Claims

	pending map[model.ServiceName]Desired // set and not yet committed
	// touched frontends may differ between the two views.
	touched map[model.FrontendKey]struct{}
	addresses

	have     dataplane
	adopting bool // the first plan since Adopt is not committed whole
}

// dataplane is what the kernel holds.
type dataplane struct {
	structure
	entries map[frontendKey]*entry
	strays  []stray // elements that kube-vmap would not have written
}

type frontendKey = model.FrontendKey

// stray is an element that stands for nothing: it is deleted.
type stray struct {
	set     string
	element nft.Element
}

// NewTracker begins with no services and no table.
func NewTracker(opts Options) *Tracker {
	return &Tracker{
		opts:      opts,
		claims:    NewClaims(),
		pending:   map[model.ServiceName]Desired{},
		touched:   map[model.FrontendKey]struct{}{},
		addresses: newAddresses(),
		have:      newDataplane(),
	}
}

func newDataplane() dataplane {
	return dataplane{structure: structure{shape: newShape()}, entries: map[frontendKey]*entry{}}
}

// Options are the options in force.
func (t *Tracker) Options() *Options { return &t.opts }

// SetOptions changes the options. What depends on them in a Service (families)
// must be set anew.
func (t *Tracker) SetOptions(opts Options) {
	t.opts = opts
	t.have.complete = false
}

// Claims says which Service has which frontend.
func (t *Tracker) Claims() *Claims { return t.claims }

// Set says what a Service wants now; a Desired without Service is one that is
// gone. It returns other Services that win or lose a frontend by it: they must
// be set anew before the next Plan.
func (t *Tracker) Set(name model.ServiceName, d Desired) (affected []model.ServiceName) {
	keys := d.keys()
	for _, k := range t.claims.Keys(name) {
		t.touched[k] = struct{}{}
	}
	for _, k := range keys {
		t.touched[k] = struct{}{}
	}
	t.pending[name] = d
	t.clusterIPs.set(name, d.ClusterIPs)
	t.hairpins.set(name, d.Hairpins)
	t.affinity.set(name, d.Affinity)
	return t.claims.Set(name, d.Service, keys)
}

// keys are the distinct frontends.
func (d *Desired) keys() []model.FrontendKey {
	keys := make([]model.FrontendKey, 0, len(d.Frontends))
	for i := range d.Frontends {
		if k := d.Frontends[i].Key; !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Forget drops what was set for a Service and not committed. What the kernel has
// of it stays until it is set again.
func (t *Tracker) Forget(name model.ServiceName) { delete(t.pending, name) }

// OwnerOf is the Service that an element stands for, nil if it is none's.
func (t *Tracker) OwnerOf(set *nft.Set, e *nft.Element) *model.Service {
	if set == nil || e == nil || !holdsServices(set) {
		return nil
	}
	f := ipv4
	if strings.HasSuffix(set.Name, ipv6.suffix) {
		f = ipv6
	}
	return t.claims.Owner(f.keyOf(&e.Key, 0))
}

// Reserve makes room for that many services in a Tracker that has none: maps that
// grow are copied again and again.
func (t *Tracker) Reserve(services int) {
	c := t.claims
	if len(t.have.entries)+len(c.owners)+len(c.keys)+len(t.clusterIPs.wanted)+len(t.clusterIPs.known) > 0 {
		return
	}
	t.have.entries = make(map[frontendKey]*entry, services)
	t.clusterIPs = newAddressSet(t.clusterIPs.addressKind, services)
	c.owners = make(map[model.FrontendKey]*model.Service, services)
	c.keys = make(map[model.ServiceName][]model.FrontendKey, services)
}

// HasTable reports whether the kernel has the table, whole or in part.
func (t *Tracker) HasTable() bool { return t.have.table != nil }

// Learns reports whether the table learns session-affinity bindings.
func (t *Tracker) Learns() bool { return len(t.have.shape.learn) > 0 }

// FrontendCount is how many frontends the kernel has.
func (t *Tracker) FrontendCount() int { return len(t.have.entries) }

// Table is the whole table as the kernel has it by all that is known.
func (t *Tracker) Table() *nft.Table {
	table, fs := skeleton(&t.opts, t.have.shape)
	for _, k := range slices.SortedFunc(maps.Keys(t.have.entries), model.FrontendKey.Compare) {
		if s := fs[familyOf(k.Addr)]; s != nil {
			t.have.entries[k].elements(k, s)
		}
	}
	for f, s := range fs {
		for _, a := range t.addressSets() {
			set := a.in(s)
			set.Elements = addressElements(f, a.sorted(), a.element)
		}
	}
	return table
}
