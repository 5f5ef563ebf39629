package ruleset

import (
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// family is what differs between IPv4 and IPv6: the suffix of names, the type of
// an address and the packet's fields.
type family struct {
	suffix                string
	addr                  nft.Type
	saddr, daddr, ctDaddr nft.Field
	dnat                  func(set string, fields ...nft.Field) nft.Statement
}

var (
	ipv4 = &family{"4", nft.IPv4Addr, nft.IPSaddr, nft.IPDaddr, nft.CtOriginalIPDaddr, nft.DNAT}
	ipv6 = &family{"6", nft.IPv6Addr, nft.IP6Saddr, nft.IP6Daddr, nft.CtOriginalIP6Daddr, nft.DNAT6}
)

func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// isOneOf reports whether an address is of the family.
func (f *family) isOneOf(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return familyOf(a) == f })
}

// frontend is the concatenation that identifies a frontend in a packet before
// its destination is translated.
func (f *family) frontend() []nft.Field { return []nft.Field{f.daddr, nft.L4Proto, nft.ThDport} }

// originalFrontend is the same in a packet whose destination has been translated.
func (f *family) originalFrontend() []nft.Field {
	return []nft.Field{f.ctDaddr, nft.L4Proto, nft.CtOriginalProtoDst}
}

// addrSize is the length of an address in bytes.
func (f *family) addrSize() int { return f.addr.Size() }

// key is a frontend's key in the maps.
func key(k model.FrontendKey) nft.Value {
	return nft.Value{}.Addr(k.Addr).Protocol(nft.Protocol(k.Protocol)).Port(k.Port)
}

// keyOf reads a frontend's key, as it begins at byte offset off, back.
func (f *family) keyOf(v *nft.Value, off int) model.FrontendKey {
	addr := f.addrSize()
	return model.FrontendKey{
		Addr:     v.AddrAt(off, f == ipv4),
		Protocol: model.Protocol(v.ProtocolAt(off + addr)),
		Port:     v.PortAt(off + addr + 4),
	}
}

// slotOf reads the slot behind a frontend's key.
func (f *family) slotOf(v *nft.Value) uint32 { return v.MarkAt(f.addrSize() + 8) }

// backendOf reads the data of a slot.
func (f *family) backendOf(v *nft.Value) model.Backend {
	return netip.AddrPortFrom(v.AddrAt(0, f == ipv4), v.PortAt(f.addrSize()))
}

// sets are the sets and maps of one family.
type sets struct {
	services, backends           *nft.Set
	localServices, localBackends *nft.Set
	blocked                      *nft.Set
	firewalled, allowedSources   *nft.Set
	affinity, learn              *nft.Set
	clusterIPs, hairpin          *nft.Set
	affinityIPs                  *nft.Set
	serviceCIDRs, podCIDRs       *nft.Set
}

// newSets defines the sets of a family.
func newSets(f *family, opts *Options) *sets {
	a := f.addr
	frontend := nft.Types{a, nft.InetProto, nft.InetService}
	slot := nft.Types{a, nft.InetProto, nft.InetService, nft.Mark}
	client := nft.Types{a, a, nft.InetProto, nft.InetService}
	backend := nft.Types{a, nft.InetService}
	// nft needs the slot's column typed by numgen to load the rules that draw it.
	slotTypeof := f.daddr.String() + " . meta l4proto . th dport . numgen random mod 2 : " + f.daddr.String() + " . th dport"
	verdicts := func(name string) *nft.Set {
		return &nft.Set{Name: name + f.suffix, Key: frontend, Verdicts: true}
	}
	// Each first packet to a frontend meets its element of services, also if that
	// leads on to local-services: to count there too would count twice.
	services := verdicts("services")
	services.Counters = opts.Counters >= CountServices
	slots := func(name string) *nft.Set {
		return &nft.Set{Name: name + f.suffix, Key: slot, Data: backend, LoadTypeof: slotTypeof, Counters: opts.Counters >= CountEndpoints}
	}
	prefixes := func(name string) *nft.Set {
		return &nft.Set{Name: name + f.suffix, Key: nft.Types{a}, Interval: true}
	}
	return &sets{
		services:       services,
		backends:       slots("backends"),
		localServices:  verdicts("local-services"),
		localBackends:  slots("local-backends"),
		blocked:        verdicts("blocked"),
		firewalled:     &nft.Set{Name: "firewalled" + f.suffix, Key: frontend},
		allowedSources: &nft.Set{Name: "allowed-sources" + f.suffix, Key: nft.Types{a, nft.InetProto, nft.InetService, a}, Interval: true},
		affinity:       &nft.Set{Name: "affinity" + f.suffix, Key: client, Data: backend, Dynamic: true, Size: opts.AffinitySize},
		learn:          verdicts("learn"),
		clusterIPs:     &nft.Set{Name: "cluster-ips" + f.suffix, Key: nft.Types{a}},
		hairpin:        &nft.Set{Name: "hairpin" + f.suffix, Key: nft.Types{a, a}},
		affinityIPs:    &nft.Set{Name: "affinity-ips" + f.suffix, Key: nft.Types{a}},
		serviceCIDRs:   prefixes("service-cidrs"),
		podCIDRs:       prefixes("pod-cidrs"),
	}
}

// all lists the sets in the order in which they are printed: what an operator
// looks for first comes first.
func (s *sets) all() []*nft.Set {
	return []*nft.Set{
		s.services, s.backends, s.localServices, s.localBackends, s.blocked,
		s.firewalled, s.allowedSources, s.affinity, s.affinityIPs, s.learn, s.clusterIPs, s.hairpin,
		s.serviceCIDRs, s.podCIDRs,
	}
}

// ofServices lists the sets whose elements stand for services.
func (s *sets) ofServices() []*nft.Set {
	return slices.DeleteFunc(s.all(), func(set *nft.Set) bool { return !holdsServices(set) })
}
