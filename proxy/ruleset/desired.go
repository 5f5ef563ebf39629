package ruleset

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Locality is where the proxy runs and what it may serve there: it decides which
// endpoints are near, which node ports are open and which external IPs count.
type Locality struct {
	Node          string
	Zone          string
	NodeAddrs     []netip.Addr // the node's own addresses
	NodePortAddrs []netip.Addr // addresses of this node that accept node ports
	ExternalIPs   ExternalIPs
}

// Desired is what one Service wants of the table.
type Desired struct {
	Service    *model.Service
	Frontends  []Frontend
	ClusterIPs []netip.Addr
	Hairpins   []netip.Addr // endpoints on this node, which may reach themselves through a frontend
	Affinity   []netip.Addr // of the frontends with session affinity
	Ignored    []netip.Addr // external IPs that the node's policy does not allow
}

// Frontend is what one (address, protocol, port) should do.
type Frontend struct {
	Key    model.FrontendKey
	Name   model.ServicePortName
	Kind   model.FrontendKind
	Policy model.TrafficPolicy // the Service's internal policy for a cluster IP, else its external one

	// Backends get the connections; for an external frontend of policy Local
	// those of pods and of this node. Sorted, each once.
	Backends []model.Backend
	// Local backends get the connections of everyone else, for an external
	// frontend of policy Local.
	Local []model.Backend

	// Serving backends are all that still serve connections they have, whether or
	// not they get new ones. Sorted, each once.
	Serving []model.Backend

	Blocked  Blocked
	Affinity time.Duration  // 0: none
	Sources  []netip.Prefix // who may connect; nil: everyone
}

// Blocked says what happens to a new connection that no backend takes.
type Blocked uint8

// Unblocked frontends have backends for everyone. Reject answers (no endpoint
// anywhere), Drop stays silent (endpoints elsewhere: another node may serve).
const (
	Unblocked Blocked = iota
	Reject
	Drop
)

func (b Blocked) String() string { return [...]string{"", "reject", "drop"}[b] }

// Desire computes what a Service wants: all its frontends, for all its
// addresses, each with the backends that its policies and the topology select.
func Desire(svc *model.Service, sliceList []*model.EndpointSlice, loc *Locality, opts *Options) Desired {
	d := Desired{Service: svc, ClusterIPs: svc.ClusterIPs}
	if slices.ContainsFunc(svc.ClusterIPs, opts.lacks) {
		d.ClusterIPs = slices.DeleteFunc(slices.Clone(svc.ClusterIPs), opts.lacks)
	}
	allowed, ignored := d.externalIPs(loc)
	d.Ignored = ignored
	for i := range svc.Ports {
		port := &svc.Ports[i]
		endpoints := portEndpoints(sliceList, port)
		for _, f := range opts.families() {
			if !f.isOneOf(d.ClusterIPs) {
				continue // the Service is not of this family
			}
			b := desirer{svc: svc, port: port, externalIPs: allowed, loc: loc, opts: opts, family: f}
			b.selected = choose(endpoints, f, loc)
			d.Frontends = append(d.Frontends, b.frontends()...)
			d.Hairpins = appendAddrs(d.Hairpins, b.selected.onNode)
		}
	}
	if svc.Affinity > 0 {
		for i := range d.Frontends {
			d.Affinity = append(d.Affinity, d.Frontends[i].Key.Addr)
		}
	}
	return d
}

// externalIPs parts the Service's external IPs into those that are served and
// those that the policy excludes.
func (d *Desired) externalIPs(loc *Locality) (allowed, ignored []netip.Addr) {
	for _, ip := range d.Service.ExternalIPs {
		if loc.ExternalIPs.Allow(ip) {
			allowed = append(allowed, ip)
		} else {
			ignored = append(ignored, ip)
		}
	}
	return allowed, ignored
}

func appendAddrs(addrs []netip.Addr, backends []model.Backend) []netip.Addr {
	for _, b := range backends {
		addrs = append(addrs, b.Addr())
	}
	return addrs
}

// desirer computes the frontends of one service port in one family.
type desirer struct {
	svc         *model.Service
	port        *model.ServicePort
	externalIPs []netip.Addr
	loc         *Locality
	opts        *Options
	family      *family
	selected    selection
}

// frontends lists the frontends by precedence: where one address has two roles,
// the first listed counts.
func (d *desirer) frontends() []Frontend {
	var fs []Frontend
	add := func(addrs []netip.Addr, kind model.FrontendKind, port uint16) {
		for _, a := range addrs {
			if a.IsValid() && familyOf(a) == d.family && port != 0 {
				fs = append(fs, d.frontend(a, kind, port))
			}
		}
	}
	add(d.svc.ClusterIPs, model.ClusterIP, d.port.Port)
	add(d.svc.LoadBalancerIPs, model.LoadBalancerIP, d.port.Port)
	add(d.externalIPs, model.ExternalIP, d.port.Port)
	add(d.loc.NodePortAddrs, model.NodePort, d.port.NodePort)
	return fs
}

func (d *desirer) frontend(addr netip.Addr, kind model.FrontendKind, port uint16) Frontend {
	f := Frontend{
		Key:      model.FrontendKey{Addr: addr, Port: port, Protocol: d.port.Protocol},
		Name:     d.svc.PortName(d.port),
		Kind:     kind,
		Affinity: d.svc.Affinity,
		Serving:  d.selected.serving,
	}
	s := &d.selected
	switch {
	case kind == model.ClusterIP && d.svc.InternalPolicy == model.PolicyLocal:
		f.Policy, f.Backends = model.PolicyLocal, s.local
		f.Blocked = blockedWithout(s.local, s.anywhere)
	case kind == model.ClusterIP || d.svc.ExternalPolicy == model.PolicyCluster:
		f.Backends = s.cluster
		f.Blocked = blockedWithout(s.cluster, s.anywhere)
	default:
		f.Policy, f.Backends, f.Local = model.PolicyLocal, s.cluster, s.local
		f.Blocked = blockedWithout(s.local, s.anywhere)
	}
	if kind == model.LoadBalancerIP {
		f.Sources = d.sources()
	}
	return f
}

// blockedWithout says what clients get if there is none of these backends.
func blockedWithout(backends []model.Backend, anywhere bool) Blocked {
	switch {
	case len(backends) > 0:
		return Unblocked
	case anywhere:
		return Drop
	}
	return Reject
}

// sources are the Service's source ranges of the family: nil for everyone. If
// an address of this node is among them, the Service's own load-balancer
// addresses are allowed too: that is the source address of the node's own
// connections to them.
func (d *desirer) sources() []netip.Prefix {
	var ranges []netip.Prefix
	node := false
	for _, p := range d.svc.SourceRanges {
		if familyOf(p.Addr()) != d.family {
			continue
		}
		if p.Bits() == 0 {
			return nil
		}
		ranges = append(ranges, p.Masked())
		for _, a := range d.loc.NodeAddrs {
			node = node || p.Contains(a)
		}
	}
	if node {
		for _, ip := range d.svc.LoadBalancerIPs {
			if familyOf(ip) == d.family {
				ranges = append(ranges, netip.PrefixFrom(ip, ip.BitLen()))
			}
		}
	}
	return disjoint(ranges)
}

// Equal reports whether two localities select the same endpoints and frontends.
func (l *Locality) Equal(o *Locality) bool {
	return l.Node == o.Node && l.Zone == o.Zone &&
		slices.Equal(l.NodeAddrs, o.NodeAddrs) && slices.Equal(l.NodePortAddrs, o.NodePortAddrs) &&
		l.ExternalIPs.Equal(&o.ExternalIPs)
}
