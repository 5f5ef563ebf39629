package convert

import (
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// restrict sets the source ranges of s, and closes the load balancer addresses
// that a range which can't be read may have been meant to protect.
//
// A /0 stands for the whole family, and takes the place of the family's other
// ranges; where no range but /0 is left, there is no restriction at all. A
// family's addresses are otherwise open to all when every range is of the other
// family: after a range that can't be read that is not certain, and so they are
// closed until it is corrected.
func (p *problems) restrict(s *model.Service, list []string) {
	const field = "spec.loadBalancerSourceRanges"
	before := len(*p)
	ranges := widest(p.prefixes(field, list))
	unread := len(*p) > before
	if !unread {
		s.SourceRanges = ranges
		if !slices.ContainsFunc(ranges, isPartial) {
			s.SourceRanges = nil
		}
		return
	}
	s.SourceRanges = ranges
	s.LoadBalancerIPs = slices.DeleteFunc(s.LoadBalancerIPs, func(a netip.Addr) bool {
		protected := slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Addr().Is4() == a.Is4() })
		if !protected {
			p.add(field, "no range protects %s, which is closed until those that can't be read are corrected", a)
		}
		return !protected
	})
}

func isPartial(r netip.Prefix) bool { return r.Bits() > 0 }

// widest drops the ranges of a family that has a /0 among them.
func widest(ranges []netip.Prefix) []netip.Prefix {
	var open4, open6 bool
	for _, r := range ranges {
		if !isPartial(r) {
			open4, open6 = open4 || r.Addr().Is4(), open6 || r.Addr().Is6()
		}
	}
	return slices.DeleteFunc(ranges, func(r netip.Prefix) bool {
		return isPartial(r) && (r.Addr().Is4() && open4 || r.Addr().Is6() && open6)
	})
}
