package convert

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	netutils "k8s.io/utils/net"
)

// parseAddr reads an address as the API server does: leading zeros are decimal,
// and IPv4-mapped IPv6 is IPv4.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() == "" {
		return a.Unmap(), nil
	}
	if a, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(s)); ok {
		return a.Unmap(), nil
	}
	return netip.Addr{}, fmt.Errorf("%q is not an IP address: correct it", s)
}

// parseServingAddr reads an address that packets can be sent to from anywhere.
func parseServingAddr(s string) (netip.Addr, error) {
	a, err := parseAddr(s)
	if err != nil {
		return a, err
	}
	var kind string
	switch {
	case a.IsUnspecified():
		kind = "the unspecified address"
	case a.IsLoopback():
		kind = "a loopback address"
	case a.IsMulticast():
		kind = "a multicast address"
	case a.Is6() && a.IsLinkLocalUnicast():
		kind = "an IPv6 link-local address"
	default:
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("%s is %s, which can't be served: use a unicast address that is routed", a, kind)
}

// servingAddrs reads a list of addresses, each once.
func (p *problems) servingAddrs(field string, list []string) []netip.Addr {
	if len(list) == 0 {
		return nil
	}
	addrs := make([]netip.Addr, 0, len(list))
	for i, s := range list {
		a, err := parseServingAddr(s)
		if err != nil {
			p.add(item(field, i), "%v", err)
			continue
		}
		addrs = appendNew(addrs, a)
	}
	return addrs
}

// parsePrefix reads an address range as the API server does: with leading zeros,
// blanks around it, and bits beyond the mask, which are cleared.
func parsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		p, err = parseSloppyPrefix(s)
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address range: write it as address/length", s)
	}
	if !p.Addr().Is4In6() {
		return p.Masked(), nil
	}
	if p.Bits() < 96 {
		return netip.Prefix{}, fmt.Errorf("%q is shorter than the prefix of IPv4-mapped addresses: write it as an IPv4 range", s)
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked(), nil
}

func parseSloppyPrefix(s string) (netip.Prefix, error) {
	_, n, err := netutils.ParseCIDRSloppy(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, errors.New("no address")
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), nil
}

// prefixes reads a list of address ranges, each once.
func (p *problems) prefixes(field string, list []string) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	ranges := make([]netip.Prefix, 0, len(list))
	for i, s := range list {
		r, err := parsePrefix(s)
		if err != nil {
			p.add(item(field, i), "%v", err)
			continue
		}
		ranges = appendNew(ranges, r)
	}
	return ranges
}

// appendNew appends v unless the list has it. The lists are short: the API's
// users write them by hand.
func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
