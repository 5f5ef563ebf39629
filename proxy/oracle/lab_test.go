package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// laboratory is two nodes, of which node-a runs the proxy, with all that packets
// need to be followed.
type laboratory struct {
	*testnet.Lab
	link    testnet.Link
	servers map[netip.AddrPort]string // name of the server at each backend
	sniffer *sniffer
	addrs   []netip.Addr // of node-a
	pods    []netip.Prefix
	ports   *ports
	raw     sync.Map // of pair to *sync.Mutex
}

var allProtocols = []model.Protocol{model.TCP, model.UDP, model.SCTP}

// newLaboratory builds the laboratory. Services' addresses are routed to node-a.
func newLaboratory(t *testing.T, link testnet.Link) *laboratory {
	t.Helper()
	topology := testnet.TwoNodes()
	topology.Nodes[0].Link = link
	l := &laboratory{
		Lab: testnet.ForTest(t, topology), link: link, servers: map[netip.AddrPort]string{},
		pods: topology.Nodes[0].PodCIDRs, ports: newPorts(),
	}
	nodeA := l.Host("node-a")
	l.addrs = append(nodeA.Addrs(), testnet.Addrs("10.244.0.1", "fd00:10:244::1")...)
	for _, p := range testnet.Prefixes("203.0.112.0/22", "198.18.0.0/16", "2001:db8:113::/64", "2001:db8:114::/64",
		"2001:db8:198::/64", "10.96.0.0/16", "fd00:10:96::/112") {
		if err := l.Route(p, nodeA); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"a1", "a2", "b1", "b2", "node-a", "node-b"} {
		for _, port := range []uint16{8080, 9090} {
			l.serve(t, host, port)
		}
	}
	l.sniffer = newSniffer(t, l.Host("a1"), l.Host("a2"), l.Host("b1"), l.Host("b2"), l.Host("node-a"), l.Host("node-b"))
	return l
}

func (l *laboratory) serve(t *testing.T, host string, port uint16) {
	t.Helper()
	h := l.Host(host)
	for _, a := range h.Addrs() {
		at := netip.AddrPortFrom(a, port)
		l.servers[at] = fmt.Sprintf("%s:%d", host, port)
		for _, protocol := range allProtocols {
			if _, err := h.ServeAs(l.servers[at], protocol, at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// own gives node-a addresses that are not on the wire.
func (l *laboratory) own(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	err := l.Host("node-a").Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, a := range addrs {
			ip, err := netlink.ParseIPNet(netip.PrefixFrom(a, a.BitLen()).String())
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ip}); err != nil {
				return fmt.Errorf("add %s: %w", a, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.addrs = append(l.addrs, addrs...)
}

// isOnNode reports whether an address is behind node-a or its own: all that it
// sends passes node-a.
func (l *laboratory) isOnNode(a netip.Addr) bool {
	return slices.Contains(l.addrs, a) || slices.ContainsFunc(l.pods, func(p netip.Prefix) bool { return p.Contains(a) })
}

// toward are the addresses, one of which node-a gives to what it masquerades.
func (l *laboratory) toward(to netip.Addr) []netip.Addr {
	is4 := func(a netip.Addr) bool { return a.Is4() == to.Is4() }
	var own []netip.Addr
	for _, a := range l.addrs {
		if is4(a) {
			own = append(own, a)
		}
	}
	switch {
	case slices.Contains(l.addrs, to):
		return own
	case l.isOnNode(to): // the pods' gateway
		return testnet.Addrs(map[bool]string{true: "10.244.0.1", false: "fd00:10:244::1"}[to.Is4()])
	}
	return own[:1]
}

// packet is the first packet of a flow as node-a sees it. A process of the node
// that calls one of the node's own addresses does so from that address.
func (l *laboratory) packet(f flow) Packet {
	family := testnet.IPv6
	if f.to.Addr().Is4() {
		family = testnet.IPv4
	}
	source, _ := l.Host(f.from).Addr(family)
	p := Packet{Source: source, To: f.to, Protocol: f.protocol, Interface: "eth0"}
	switch {
	case f.from == "node-a" && (slices.Contains(l.addrs, f.to.Addr()) || f.to.Addr().IsLoopback()):
		p.Source, p.Interface = f.to.Addr(), ""
	case f.from == "node-a":
		p.Interface = ""
	case l.isOnNode(source) && l.link == testnet.Bridge:
		p.Interface = "cni0"
	case l.isOnNode(source):
		p.Interface = "veth0"
	}
	return p
}
