package ruleset

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
)

// addressSet counts who wants an address, and knows which ones the kernel has.
type addressSet struct {
	refs    map[netip.Addr]int32
	have    map[netip.Addr]struct{}
	touched map[netip.Addr]struct{} // may differ between the two
}

func newAddressSet(room int) addressSet {
	return addressSet{
		make(map[netip.Addr]int32, room), make(map[netip.Addr]struct{}, room), make(map[netip.Addr]struct{}, room),
	}
}

// addressChange is what a plan does to a set of addresses. All lists are sorted.
type addressChange struct{ add, del []netip.Addr }

// change replaces one user's addresses.
func (s *addressSet) change(before, now []netip.Addr) {
	if slices.Equal(before, now) {
		return
	}
	for _, a := range now {
		s.refs[a]++
		s.touched[a] = struct{}{}
	}
	for _, a := range before {
		if s.refs[a]--; s.refs[a] == 0 {
			delete(s.refs, a)
		}
		s.touched[a] = struct{}{}
	}
}

// forget says that the kernel has none.
func (s *addressSet) forget() {
	clear(s.have)
	for a := range s.refs {
		s.touched[a] = struct{}{}
	}
}

// read says that the kernel has the address.
func (s *addressSet) read(a netip.Addr) {
	s.have[a] = struct{}{}
	s.touched[a] = struct{}{}
}

func (s *addressSet) diff() addressChange {
	var c addressChange
	for a := range s.touched {
		_, have := s.have[a]
		switch want := s.refs[a] > 0; {
		case want && !have:
			c.add = append(c.add, a)
		case !want && have:
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
	all := maps.Clone(s.have)
	for a := range s.refs {
		all[a] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(all), netip.Addr.Compare)
}

func (s *addressSet) commit(c addressChange) {
	for _, a := range c.add {
		s.have[a] = struct{}{}
		delete(s.touched, a)
	}
	for _, a := range c.del {
		delete(s.have, a)
		delete(s.touched, a)
	}
	if len(s.touched) == 0 {
		s.touched = map[netip.Addr]struct{}{} // see Tracker.Commit
	}
}

// sorted are the addresses that the kernel has.
func (s *addressSet) sorted() []netip.Addr {
	return slices.SortedFunc(maps.Keys(s.have), netip.Addr.Compare)
}

// addressElements makes elements of the family's addresses.
func addressElements(f *family, addrs []netip.Addr, element func(netip.Addr) nft.Element) []nft.Element {
	var es []nft.Element
	for _, a := range addrs {
		if familyOf(a) == f {
			es = append(es, element(a))
		}
	}
	return es
}

func clusterIPElement(a netip.Addr) nft.Element { return nft.Element{Key: nft.Value{}.Addr(a)} }

func hairpinElement(a netip.Addr) nft.Element { return nft.Element{Key: nft.Value{}.Addr(a).Addr(a)} }
