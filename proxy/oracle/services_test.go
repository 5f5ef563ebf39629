package oracle

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

const (
	ready       = model.Ready | model.Serving
	terminating = model.Serving | model.Terminating
)

// backend is an endpoint of a Service, on a host of the laboratory.
type backend struct {
	host  string
	node  string
	state model.EndpointState
	hints *model.Hints
	port  uint16 // 0: 8080
}

func zone(z string) *model.Hints { return &model.Hints{Zones: []string{z}} }
func node(n string) *model.Hints { return &model.Hints{Nodes: []string{n}} }

// situation is where a Service's endpoints are and how they are.
type situation struct {
	name     string
	backends []backend
	usual    bool // crossed with more policies and protocols
}

var situations = []situation{
	{"local", []backend{{host: "a1", node: "node-a", state: ready}}, true},
	{"remote", []backend{{host: "b1", node: "node-b", state: ready}}, true},
	{"both", []backend{{host: "a1", node: "node-a", state: ready}, {host: "b1", node: "node-b", state: ready}}, true},
	{"none", nil, true},
	{"terminating only", []backend{
		{host: "a1", node: "node-a", state: terminating}, {host: "b1", node: "node-b", state: terminating}}, true},
	{"local terminating, remote ready", []backend{
		{host: "a1", node: "node-a", state: terminating}, {host: "b1", node: "node-b", state: ready}}, true},
	{"not ready", []backend{{host: "a1", node: "node-a"}, {host: "b1", node: "node-b", state: model.Serving}}, false},
	{"terminating and not serving", []backend{
		{host: "a1", node: "node-a", state: model.Terminating}, {host: "b1", node: "node-b", state: ready}}, false},
	{"remote terminating only", []backend{{host: "b1", node: "node-b", state: terminating}}, false},
	{"local ready and terminating", []backend{
		{host: "a1", node: "node-a", state: ready}, {host: "a2", node: "node-a", state: terminating}, {host: "b1", node: "node-b", state: ready}}, false},
	{"ready while terminating", []backend{{host: "a1", node: "node-a", state: ready | model.Terminating}}, false},
	{"zone hints elsewhere", []backend{
		{host: "a1", node: "node-a", state: ready, hints: zone("z2")}, {host: "b1", node: "node-b", state: ready, hints: zone("z1")}}, false},
	{"zone hints for nobody here", []backend{
		{host: "a1", node: "node-a", state: ready, hints: zone("z2")}, {host: "b1", node: "node-b", state: ready, hints: zone("z3")}}, false},
	{"node hints before zone hints", []backend{
		{host: "a1", node: "node-a", state: ready, hints: &model.Hints{Zones: []string{"z1"}, Nodes: []string{"node-b"}}},
		{host: "b1", node: "node-b", state: ready, hints: node("node-a")}}, false},
	{"hints on some only", []backend{
		{host: "a1", node: "node-a", state: ready}, {host: "b1", node: "node-b", state: ready, hints: zone("z1")}}, false},
	{"two ports", []backend{
		{host: "a1", node: "node-a", state: ready}, {host: "b1", node: "node-b", state: ready, port: 9090}}, false},
	{"twice, once terminating", []backend{
		{host: "a1", node: "node-a", state: terminating}, {host: "a1", node: "node-a", state: ready, port: 8080}}, false},
	{"on this host's network", []backend{{host: "node-a", node: "node-a", state: ready}}, false},
	{"on another host's network", []backend{{host: "node-b", node: "node-b", state: ready}}, false},
	{"no node named", []backend{{host: "a1", state: ready}, {host: "b1", state: ready}}, false},
}

// policies are the pairs of internal and external policy. The mixed ones tell an
// implementation that looks at the wrong one.
type policies struct{ internal, external model.TrafficPolicy }

var (
	mixedPolicies = []policies{{model.PolicyCluster, model.PolicyLocal}, {model.PolicyLocal, model.PolicyCluster}}
	allPolicies   = append([]policies{{model.PolicyCluster, model.PolicyCluster}, {model.PolicyLocal, model.PolicyLocal}}, mixedPolicies...)
)

// catalogue makes the Services. Each has addresses and node ports of its own.
type catalogue struct {
	lab      *testnet.Lab
	services []*model.Service
	slices   []*model.EndpointSlice
}

// addr4 and addr6 are the i-th addresses for one purpose.
func addr4(a, b, c byte, i int) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, byte(i)}) }
func addr6(prefix string, i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("%s::%x", prefix, i))
}

// add makes a Service of a situation.
func (c *catalogue) add(sit situation, p policies, protocols ...model.Protocol) *model.Service {
	i := len(c.services) + 1
	s := &model.Service{
		Name:    model.ServiceName{Namespace: "matrix", Name: fmt.Sprintf("s%d", i)},
		UID:     fmt.Sprintf("uid-%d", i),
		Created: time.Unix(int64(i), 0),

		ClusterIPs:      []netip.Addr{addr4(10, 96, 0, i), addr6("fd00:10:96", i)},
		ExternalIPs:     []netip.Addr{addr4(203, 0, 113, i), addr6("2001:db8:113", i)},
		LoadBalancerIPs: []netip.Addr{addr4(198, 18, 0, i), addr6("2001:db8:198", i)},
		InternalPolicy:  p.internal, ExternalPolicy: p.external,
	}
	for _, protocol := range protocols {
		s.Ports = append(s.Ports, model.ServicePort{
			Name: protocol.String(), Protocol: protocol, Port: 80, NodePort: uint16(30000 + i),
		})
	}
	c.services = append(c.services, s)
	c.slicesOf(s, sit)
	return s
}

// slicesOf makes a slice per endpoint and family, so that each may have its own port.
func (c *catalogue) slicesOf(s *model.Service, sit situation) {
	for i, b := range sit.backends {
		for _, a := range []testnet.Family{testnet.IPv4, testnet.IPv6} {
			addr, _ := c.lab.Host(b.host).Addr(a)
			slice := &model.EndpointSlice{
				Name:      model.SliceName{Namespace: s.Name.Namespace, Name: fmt.Sprintf("%s-%d-%s", s.Name.Name, i, a)},
				Service:   s.Name,
				Endpoints: []model.Endpoint{{Addr: addr, Node: b.node, State: b.state, Hints: b.hints}},
			}
			for _, p := range s.Ports {
				slice.Ports = append(slice.Ports, model.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: max(8080, b.port)})
			}
			c.slices = append(c.slices, slice)
		}
	}
}

// about tells a Service for people.
func (c *catalogue) fill() map[model.ServiceName]string {
	about := map[model.ServiceName]string{}
	add := func(s *model.Service, text string) {
		about[s.Name] = fmt.Sprintf("%s, policies %s/%s", text, s.InternalPolicy, s.ExternalPolicy)
	}
	for _, sit := range situations {
		pairs := mixedPolicies
		if sit.usual {
			pairs = allPolicies
		}
		for i, p := range pairs {
			protocols := []model.Protocol{model.TCP}
			if sit.usual && i >= 2 { // the mixed ones
				protocols = []model.Protocol{model.TCP, model.UDP, model.SCTP}
			}
			add(c.add(sit, p, protocols...), sit.name)
		}
	}
	c.special(add)
	return about
}

// special adds Services with source ranges, on addresses of the node, and with
// frontends that an older one has.
func (c *catalogue) special(add func(*model.Service, string)) {
	local, remote, both := situations[0], situations[1], situations[2]
	for _, ranges := range [][]string{
		{"198.51.100.0/24", "2001:db8:100::/64"},                 // the client
		{"10.244.0.0/24", "fd00:10:244::/64"},                    // this node's pods
		{"192.0.2.10/32", "2001:db8:2::10/128"},                  // this node
		{"2001:db8:100::/64"},                                    // one family
		{"203.0.113.0/24", "0.0.0.0/0", "2001:db8:113::/64"},     // everyone by IPv4
		{"198.51.100.10/32", "198.51.100.0/24", "10.244.1.0/24"}, // one in another
	} {
		for _, p := range allPolicies[:2] {
			s := c.add(both, p, model.TCP, model.UDP)
			s.SourceRanges = testnet.Prefixes(ranges...)
			add(s, fmt.Sprintf("both, source ranges %v", ranges))
		}
	}
	for _, p := range allPolicies[:2] {
		s := c.add(both, p, model.TCP, model.UDP)
		i := len(c.services)
		s.ExternalIPs, s.LoadBalancerIPs = onNode(2*i), onNode(2*i+1)
		s.SourceRanges = testnet.Prefixes("192.0.2.0/24", "2001:db8:2::/64", "198.51.100.0/24", "2001:db8:100::/64")
		add(s, "both, external addresses on the node, source ranges with the node")
	}
	for i, text := range []string{"both, IPv4 only", "both, IPv6 only"} {
		s := c.add(both, allPolicies[0], model.TCP, model.UDP)
		s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs = s.ClusterIPs[i:i+1], s.ExternalIPs[i:i+1], s.LoadBalancerIPs[i:i+1]
		add(s, text)
	}
	younger, older := c.add(local, allPolicies[0], model.TCP), c.add(remote, allPolicies[0], model.TCP)
	younger.Created, older.Created = older.Created, younger.Created
	younger.ExternalIPs, younger.LoadBalancerIPs = older.ExternalIPs, older.ExternalIPs
	younger.Ports[0].NodePort = older.Ports[0].NodePort
	add(younger, "local, younger than who has the same external addresses and node port")
	add(older, "remote, older than who wants the same external addresses and node port")
}

// onNode is an address of each family that the node itself has.
func onNode(i int) []netip.Addr { return []netip.Addr{addr4(203, 0, 114, i), addr6("2001:db8:114", i)} }
