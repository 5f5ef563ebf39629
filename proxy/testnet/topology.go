package testnet

import (
	"fmt"
	"net/netip"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Protocol is a transport protocol.
type Protocol = model.Protocol

// The protocols that servers and probes speak.
const (
	TCP  = model.TCP
	UDP  = model.UDP
	SCTP = model.SCTP
)

// Topology describes a laboratory.
type Topology struct {
	// Gateways are the outside switch's own addresses with the length of their
	// subnets. A node or client with an address in such a subnet gets its default
	// route through the gateway; a family without a gateway has no default route.
	Gateways []netip.Prefix
	Nodes    []Node
	Clients  []Client
}

// Node is a machine of the cluster on the outside switch. It forwards packets
// and routes to the pods of all other nodes.
type Node struct {
	Name     string
	Addrs    []netip.Prefix // of eth0, with the length of the subnet
	PodCIDRs []netip.Prefix // at most one per family; the first address is the pods' gateway
	Link     Link
	Pods     []Pod
}

// Pod is a namespace behind a node.
type Pod struct {
	Name  string
	Addrs []netip.Addr // of eth0, in the node's PodCIDRs
}

// Client is a machine outside the cluster, on the outside switch.
type Client struct {
	Name  string
	Addrs []netip.Prefix // of eth0, with the length of the subnet
}

// Link is how a node's pods are attached.
type Link uint8

// The links.
const (
	// Veth routes to each pod over its own veth pair, named veth0, veth1 ... on
	// the node, whose end carries the gateway's address: as the CNI plugin ptp.
	Veth Link = iota
	// Bridge has the pods as ports of the bridge cni0, with hairpin mode on the
	// ports and bridge-nf-call-iptables on: as the CNI plugin bridge, hairpinMode.
	Bridge
)

func (l Link) String() string {
	switch l {
	case Veth:
		return "veth"
	case Bridge:
		return "bridge"
	}
	return fmt.Sprintf("Link(%d)", uint8(l))
}

// TwoNodes is a dual-stack topology for most purposes:
//
//	node-a  192.0.2.10  2001:db8:2::10   pods a1, a2: 10.244.0.11, .12  fd00:10:244::11, ::12    (Veth)
//	node-b  192.0.2.20  2001:db8:2::20   pods b1, b2: 10.244.1.11, .12  fd00:10:244:1::11, ::12  (Bridge)
//	client  198.51.100.10  2001:db8:100::10
//
// The gateways are 192.0.2.1, 2001:db8:2::1, 198.51.100.1 and 2001:db8:100::1.
func TwoNodes() Topology {
	return Topology{
		Gateways: Prefixes("192.0.2.1/24", "2001:db8:2::1/64", "198.51.100.1/24", "2001:db8:100::1/64"),
		Nodes: []Node{{
			Name:     "node-a",
			Addrs:    Prefixes("192.0.2.10/24", "2001:db8:2::10/64"),
			PodCIDRs: Prefixes("10.244.0.0/24", "fd00:10:244::/64"),
			Link:     Veth,
			Pods: []Pod{
				{Name: "a1", Addrs: Addrs("10.244.0.11", "fd00:10:244::11")},
				{Name: "a2", Addrs: Addrs("10.244.0.12", "fd00:10:244::12")},
			},
		}, {
			Name:     "node-b",
			Addrs:    Prefixes("192.0.2.20/24", "2001:db8:2::20/64"),
			PodCIDRs: Prefixes("10.244.1.0/24", "fd00:10:244:1::/64"),
			Link:     Bridge,
			Pods: []Pod{
				{Name: "b1", Addrs: Addrs("10.244.1.11", "fd00:10:244:1::11")},
				{Name: "b2", Addrs: Addrs("10.244.1.12", "fd00:10:244:1::12")},
			},
		}},
		Clients: []Client{{
			Name:  "client",
			Addrs: Prefixes("198.51.100.10/24", "2001:db8:100::10/64"),
		}},
	}
}

// Prefixes parses addresses with lengths; it panics on a bad one, as
// netip.MustParsePrefix does.
func Prefixes(s ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(s))
	for i, p := range s {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// Addrs parses addresses; it panics on a bad one, as netip.MustParseAddr does.
func Addrs(s ...string) []netip.Addr {
	out := make([]netip.Addr, len(s))
	for i, a := range s {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}
