package ruleset

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// FrontendStatus is what the kernel has for one frontend.
type FrontendStatus struct {
	Key        model.FrontendKey
	Service    string // namespace/name:port, shortened if it is too long for a comment
	Kind       model.FrontendKind
	Policy     model.TrafficPolicy // of an external frontend
	Class      Class
	Slots      Slots // backends for pods, or for all
	Local      Slots // backends for clients outside the cluster, where the policy is Local,
	LocalClass Class // and their class
	Blocked    Blocked
	Affinity   time.Duration
	Filtered   bool           // only Sources may connect
	Sources    []netip.Prefix // sorted
}

// Backends are the distinct backends in the order of their slots.
func (f *FrontendStatus) Backends() []model.Backend { return f.Slots.backends() }

func (s Slots) backends() []model.Backend {
	var bs []model.Backend
	for _, b := range s {
		if b.IsValid() && !slices.Contains(bs, b) {
			bs = append(bs, b)
		}
	}
	return bs
}

// Kernel is the kernel's table as it was adopted: without the elements of services,
// nil if there is none.
func (t *Tracker) Kernel() *nft.Table { return t.have.table }

// Frontend is what the kernel has for one frontend, if anything.
func (t *Tracker) Frontend(k model.FrontendKey) (FrontendStatus, bool) {
	e := t.have.entries[k]
	if e == nil {
		return FrontendStatus{}, false
	}
	return e.status(k), true
}

// HasClusterIP reports whether the kernel takes the address for a cluster IP.
func (t *Tracker) HasClusterIP(a netip.Addr) bool { return t.clusterIPs.known[a].there }

// Prefixes are the kernel's elements of a set of prefixes, such as service-cidrs4.
func Prefixes(set *nft.Set) []netip.Prefix {
	var list []netip.Prefix
	f, _, ok := splitName(set.Name)
	for i := range set.Elements {
		e := &set.Elements[i]
		last := e.KeyEnd
		if last.IsZero() {
			last = e.Key
		}
		if !ok {
			continue
		}
		if p, is := prefixBetween(e.Key.AddrAt(0, f == ipv4), last.AddrAt(0, f == ipv4)); is {
			list = append(list, p)
		}
	}
	return list
}

// List are the frontends that the kernel has, sorted by service, kind and address.
func (t *Tracker) List() []FrontendStatus {
	list := make([]FrontendStatus, 0, len(t.have.entries))
	for _, k := range slices.SortedFunc(maps.Keys(t.have.entries), model.FrontendKey.Compare) {
		list = append(list, t.have.entries[k].status(k))
	}
	slices.SortStableFunc(list, func(a, b FrontendStatus) int {
		if a.Service != b.Service {
			if a.Service < b.Service {
				return -1
			}
			return 1
		}
		return int(a.Kind) - int(b.Kind)
	})
	return list
}

func (e *entry) status(k model.FrontendKey) FrontendStatus {
	s := FrontendStatus{
		Key: k, Class: e.pool.class, Slots: e.pool.slots, Local: e.local.slots, LocalClass: e.local.class,
		Blocked: e.blocked, Affinity: time.Duration(e.learn) * time.Second, Filtered: e.firewall, Sources: e.sources,
	}
	s.Service, s.Kind = readComment(e.comment)
	if e.pool.route == viaLocal {
		s.Policy = model.PolicyLocal
	}
	return s
}

// readComment reads the service port and the kind of frontend from a comment.
func readComment(s string) (service string, kind model.FrontendKind) {
	for kind := model.ClusterIP + 1; kind <= model.LoadBalancerIP; kind++ {
		if service, found := strings.CutSuffix(s, " "+kind.String()); found {
			return service, kind
		}
	}
	return s, model.ClusterIP
}
