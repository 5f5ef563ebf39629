package ruleset

import (
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// BindingRule says which session-affinity bindings of a frontend stay: those to
// the backends in Keep (sorted), with Timeout counted from the client's last new
// connection. Plans give one for each frontend whose bindings may have to go.
type BindingRule struct {
	Key     model.FrontendKey
	Keep    []model.Backend
	Timeout time.Duration
}

// BindingSets are the maps that hold bindings: keyed by client and frontend,
// filled by the packet path.
func (o *Options) BindingSets() []*nft.Set {
	var list []*nft.Set
	for _, f := range o.families() {
		list = append(list, newSets(f, o).affinity)
	}
	return list
}

// Apply decides on one binding of one of the BindingSets: it stays as it is, or
// goes, or is replaced by one with another timeout.
func (r *BindingRule) Apply(e *nft.Element, backend model.Backend) (stays bool, replacement *nft.Element) {
	if _, kept := slices.BinarySearchFunc(r.Keep, backend, model.Backend.Compare); !kept {
		return false, nil
	}
	if e.Timeout == r.Timeout {
		return true, nil
	}
	left := r.Timeout - (e.Timeout - e.Expires)
	if left <= 0 {
		return false, nil
	}
	return false, &nft.Element{Key: e.Key, Data: e.Data, Timeout: r.Timeout, Expires: left}
}

// BindingOf reads a binding: which frontend leads the client to which backend.
func BindingOf(set *nft.Set, e *nft.Element) (model.FrontendKey, model.Backend) {
	f := ipv4
	if strings.HasSuffix(set.Name, ipv6.suffix) {
		f = ipv6
	}
	return f.keyOf(&e.Key, f.addrSize()), f.backendOf(&e.Data)
}

// bindings says what becomes of the bindings of a frontend that had affinity.
// Where clients are led another way now, all go: a binding does not tell by which
// way it came.
func (c *change) bindings() (BindingRule, bool) {
	if c.have.learn == 0 {
		return BindingRule{}, false
	}
	r := BindingRule{Key: c.key}
	have, want := &c.have.pool, &c.want.pool
	if c.want.learn == 0 || have.class > 0 && want.route != have.route {
		return r, true
	}
	lost := slices.ContainsFunc(have.slots, c.leaves) || slices.ContainsFunc(c.have.local.slots, c.leaves)
	if !lost && c.want.learn == c.have.learn {
		return r, false
	}
	r.Keep = append(slices.Clone(c.frontend.Backends), c.frontend.Local...)
	slices.SortFunc(r.Keep, model.Backend.Compare)
	r.Timeout = time.Duration(c.want.learn) * time.Second
	return r, true
}

// leaves reports whether the backend of a slot serves the frontend no more.
func (c *change) leaves(b model.Backend) bool { return b.IsValid() && !c.serves(b) }
