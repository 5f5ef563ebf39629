package ruleset

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// addresses are the sets whose elements are addresses that Services want there.
type addresses struct {
	clusterIPs, hairpins, affinity addressSet
}

const addressSetCount = 3

func newAddresses() addresses {
	set := func(name string, in func(*sets) *nft.Set, element func(netip.Addr) nft.Element) addressSet {
		return newAddressSet(addressKind{name, in, element}, 0)
	}
	return addresses{
		clusterIPs: set("cluster-ips", func(s *sets) *nft.Set { return s.clusterIPs }, addressElement),
		hairpins:   set("hairpin", func(s *sets) *nft.Set { return s.hairpin }, hairpinElement),
		affinity:   set("affinity-ips", func(s *sets) *nft.Set { return s.affinityIPs }, addressElement),
	}
}

func (a *addresses) addressSets() [addressSetCount]*addressSet {
	return [...]*addressSet{&a.clusterIPs, &a.hairpins, &a.affinity}
}

// addressKind is which set it is, and what an address is there.
type addressKind struct {
	name    string // without the family
	in      func(*sets) *nft.Set
	element func(netip.Addr) nft.Element
}

// addressSet knows which addresses each Service wants in a set, and which ones the
// kernel has there.
type addressSet struct {
	addressKind
	wanted  map[model.ServiceName][]netip.Addr
	known   map[netip.Addr]presence // those that are wanted or there
	touched map[netip.Addr]struct{} // those where the two may differ
	adopted bool                    // some were read: they are compared once, by the last plan
}

// presence is how many Services want an address, and whether the kernel has it.
type presence struct {
	services int32
	there    bool
}

// newAddressSet makes room for that many Services with an address each.
func newAddressSet(kind addressKind, services int) addressSet {
	return addressSet{
		addressKind: kind,
		wanted:      make(map[model.ServiceName][]netip.Addr, services),
		known:       make(map[netip.Addr]presence, services),
		touched:     make(map[netip.Addr]struct{}, services),
	}
}

// addressChange is what a plan does to a set of addresses. All lists are sorted.
type addressChange struct{ add, del []netip.Addr }

// set says what a Service wants now.
func (s *addressSet) set(name model.ServiceName, now []netip.Addr) {
	before := s.wanted[name]
	if len(now) == 0 {
		delete(s.wanted, name)
	} else {
		s.wanted[name] = now
	}
	if slices.Equal(before, now) {
		return
	}
	for _, a := range now {
		s.use(a, 1)
	}
	for _, a := range before {
		s.use(a, -1)
	}
}

func (s *addressSet) use(a netip.Addr, services int32) {
	p := s.known[a]
	p.services += services
	s.note(a, p)
	s.touched[a] = struct{}{}
}

// note keeps what is known of an address, as long as there is anything.
func (s *addressSet) note(a netip.Addr, p presence) {
	if p == (presence{}) {
		delete(s.known, a)
		return
	}
	s.known[a] = p
}

// setThere says whether the kernel has the address.
func (s *addressSet) setThere(a netip.Addr, there bool) {
	p := s.known[a]
	p.there = there
	s.note(a, p)
}

// forget says that the kernel has none.
func (s *addressSet) forget() {
	s.adopted = false
	for a := range s.known {
		s.setThere(a, false)
		s.touched[a] = struct{}{}
	}
}

// readElement takes an element that the kernel has; false if kube-vmap would not
// have written it.
func (s *addressSet) readElement(f *family, e *nft.Element) bool {
	a := e.Key.AddrAt(0, f == ipv4)
	if !a.IsValid() || !same(e, s.element(a)) {
		return false
	}
	s.read(a)
	return true
}

// read says that the kernel has the address.
func (s *addressSet) read(a netip.Addr) {
	s.setThere(a, true)
	s.touched[a] = struct{}{}
	s.adopted = true
}

// next is what a plan does. While more services are to be set, what nobody wants stays.
func (s *addressSet) next(last bool) addressChange {
	switch {
	case last:
		return s.diff()
	case s.adopted: // to compare the whole cluster with each plan would take the square of it
		return addressChange{}
	}
	return s.additions()
}

func (s *addressSet) diff() addressChange {
	var c addressChange
	for a := range s.touched {
		p := s.known[a]
		switch want := p.services > 0; {
		case want && !p.there:
			c.add = append(c.add, a)
		case !want && p.there:
			c.del = append(c.del, a)
		}
	}
	slices.SortFunc(c.add, netip.Addr.Compare)
	slices.SortFunc(c.del, netip.Addr.Compare)
	return c
}

// additions are the wanted addresses that the kernel does not have.
func (s *addressSet) additions() addressChange {
	c := s.diff()
	c.del = nil
	return c
}

// union is what is wanted or there.
func (s *addressSet) union() []netip.Addr {
	return slices.SortedFunc(maps.Keys(s.known), netip.Addr.Compare)
}

// commit says that the kernel has taken a change, and whether it was the last plan's.
func (s *addressSet) commit(c addressChange, last bool) {
	for _, a := range c.add {
		s.setThere(a, true)
	}
	for _, a := range c.del {
		s.setThere(a, false)
	}
	if s.adopted = s.adopted && !last; s.adopted || len(s.touched) == 0 {
		return
	}
	maps.DeleteFunc(s.touched, func(a netip.Addr, _ struct{}) bool {
		p := s.known[a]
		return p.there == (p.services > 0)
	})
	if len(s.touched) == 0 {
		s.touched = map[netip.Addr]struct{}{} // see Tracker.Commit
	}
}

// sorted are the addresses that the kernel has.
func (s *addressSet) sorted() []netip.Addr {
	return slices.DeleteFunc(s.union(), func(a netip.Addr) bool { return !s.known[a].there })
}

// addressElements makes elements of the family's addresses.
func addressElements(f *family, addrs []netip.Addr, element func(netip.Addr) nft.Element) []nft.Element {
	if len(addrs) == 0 {
		return nil
	}
	es := make([]nft.Element, 0, len(addrs))
	for _, a := range addrs {
		if familyOf(a) == f {
			es = append(es, element(a))
		}
	}
	return es
}

func addressElement(a netip.Addr) nft.Element { return nft.Element{Key: nft.Value{}.Addr(a)} }

func hairpinElement(a netip.Addr) nft.Element { return nft.Element{Key: nft.Value{}.Addr(a).Addr(a)} }
