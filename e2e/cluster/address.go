package cluster

import (
	"fmt"
	"net/netip"
	"sync"
)

// addressPool hands out the addresses of a node's pods: one per family, in turn,
// so that an address returns as late as possible.
type addressPool struct {
	mu    sync.Mutex
	cidrs []netip.Prefix
	next  []netip.Addr
	taken map[netip.Addr]bool
}

// newAddressPool leaves the network's own address and the first one, the gateway's.
func newAddressPool(cidrs []netip.Prefix) *addressPool {
	p := &addressPool{cidrs: cidrs, taken: map[netip.Addr]bool{}}
	for _, cidr := range cidrs {
		p.next = append(p.next, firstOf(cidr))
	}
	return p
}

func firstOf(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next().Next() }

// take is one address per family.
func (p *addressPool) take() (addrs []netip.Addr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, cidr := range p.cidrs {
		addr, err := p.find(cidr, p.next[i])
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	for i, addr := range addrs {
		p.next[i] = addr.Next()
		p.taken[addr] = true
	}
	return addrs, nil
}

// find is the first free address from start on, round the prefix once. The last
// one of an IPv4 prefix is its broadcast address and is not used.
func (p *addressPool) find(cidr netip.Prefix, start netip.Addr) (netip.Addr, error) {
	usable := func(a netip.Addr) bool {
		return cidr.Contains(a) && (a.Is6() || cidr.Contains(a.Next()))
	}
	for _, from := range []netip.Addr{start, firstOf(cidr)} {
		for a := from; usable(a); a = a.Next() {
			if !p.taken[a] {
				return a, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("take an address of %s: all are taken: remove pods", cidr)
}

func (p *addressPool) release(addrs []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addrs {
		delete(p.taken, a)
	}
}
