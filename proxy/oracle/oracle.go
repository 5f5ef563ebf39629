package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Cluster is all that an answer depends on.
type Cluster struct {
	Config       proxy.Config
	Services     []*model.Service
	Slices       []*model.EndpointSlice
	Node         model.Node
	ServiceCIDRs []netip.Prefix
	HostAddrs    []netip.Addr // the addresses of this node's interfaces

	// Toward are the addresses, one of which this node gives to a connection that
	// it masquerades on the way to an address.
	Toward func(netip.Addr) []netip.Addr
}

// Packet is the first of a connection, as it reaches this node.
type Packet struct {
	Source    netip.Addr
	Interface string // of this node, by which it came in; empty: a process of this node sends it
	To        netip.AddrPort
	Protocol  model.Protocol // 0: one without ports, as ICMP
}

// fromNode reports whether a process of this node sends the packet.
func (p *Packet) fromNode() bool { return p.Interface == "" }

// Verdict is what becomes of a packet.
type Verdict uint8

// The verdicts.
const (
	Delivered  Verdict = iota + 1 // to one of the deliveries, each as likely as the others
	Refused                       // the client is told at once
	Dropped                       // nobody answers
	NotService                    // no Service's concern: the network decides
)

func (v Verdict) String() string {
	return [...]string{"", "delivered", "refused", "dropped", "no service's concern"}[v]
}

// Answer is what must become of a packet.
type Answer struct {
	Verdict    Verdict
	Deliveries []Delivery
	Because    string // for people
}

// Delivery is one way in which a connection may be delivered.
type Delivery struct {
	Backend model.Backend
	// Sources are the addresses, one of which the backend sees; nil: the client's own.
	Sources []netip.Addr
}

func (a *Answer) String() string {
	var parts []string
	for _, d := range a.Deliveries {
		how := "with the source kept"
		if d.Sources != nil {
			how = fmt.Sprintf("masqueraded to %v", d.Sources)
		}
		parts = append(parts, fmt.Sprintf("%s %s", d.Backend, how))
	}
	if len(parts) == 0 {
		parts = []string{a.Verdict.String()}
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, " or "), a.Because)
}

// Answer says what must become of a packet.
func (c *Cluster) Answer(p Packet) Answer {
	if f, ok := c.frontend(p); ok {
		return c.answerFrontend(p, f)
	}
	for _, s := range c.Services {
		if slices.Contains(s.ClusterIPs, p.To.Addr()) {
			return Answer{Verdict: Refused, Because: "an unused port of a cluster IP"}
		}
	}
	for _, cidr := range c.ServiceCIDRs {
		if cidr.Contains(p.To.Addr()) {
			return Answer{Verdict: Dropped, Because: "an address for services that none has"}
		}
	}
	return Answer{Verdict: NotService}
}

// frontend is a service port with the kind of address it was called by.
type frontend struct {
	service *model.Service
	port    *model.ServicePort
	kind    model.FrontendKind
}

// frontend finds whose the packet's destination is: of several Services' the
// oldest one's.
func (c *Cluster) frontend(p Packet) (found frontend, ok bool) {
	for _, s := range c.Services {
		for i := range s.Ports {
			port := &s.Ports[i]
			if port.Protocol != p.Protocol {
				continue
			}
			kind, is := c.kind(s, port, p.To)
			if is && (!ok || s.Older(found.service)) {
				found, ok = frontend{s, port, kind}, true
			}
		}
	}
	return found, ok
}

// kind says by which of its addresses a service port is called. A Service is of
// the families of its cluster IPs. Where an address has two roles, the stricter
// one counts: only load-balancer addresses have source ranges.
func (c *Cluster) kind(s *model.Service, port *model.ServicePort, to netip.AddrPort) (model.FrontendKind, bool) {
	if !slices.ContainsFunc(s.ClusterIPs, func(ip netip.Addr) bool { return ip.Is4() == to.Addr().Is4() }) {
		return 0, false
	}
	if to.Port() == port.Port {
		switch {
		case slices.Contains(s.ClusterIPs, to.Addr()):
			return model.ClusterIP, true
		case slices.Contains(s.LoadBalancerIPs, to.Addr()):
			return model.LoadBalancerIP, true
		case slices.Contains(s.ExternalIPs, to.Addr()):
			return model.ExternalIP, true
		}
	}
	if port.NodePort != 0 && to.Port() == port.NodePort && c.acceptsNodePorts(to.Addr()) {
		return model.NodePort, true
	}
	return 0, false
}

// acceptsNodePorts: the node's first InternalIP of the family, or the node's own
// addresses in the configured prefixes.
func (c *Cluster) acceptsNodePorts(a netip.Addr) bool {
	if a.IsLoopback() {
		return false
	}
	if c.Config.NodePortAddresses.Primary {
		for _, ip := range c.Node.InternalIPs {
			if ip.Is4() == a.Is4() {
				if ip == a {
					return true
				}
				break
			}
		}
	}
	if !slices.Contains(c.HostAddrs, a) {
		return false
	}
	return anyContains(c.Config.NodePortAddresses.CIDRs, a)
}

func anyContains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (c *Cluster) answerFrontend(p Packet, f frontend) Answer {
	if f.kind == model.LoadBalancerIP && !c.isAllowedSource(p, f.service) {
		return Answer{Verdict: Dropped, Because: "the source is not in loadBalancerSourceRanges"}
	}
	all := c.endpoints(f, p.To.Addr().Is4())
	cluster, local := c.clusterBackends(all), c.localBackends(all)
	if len(serving(all)) == 0 {
		return Answer{Verdict: Refused, Because: "no usable endpoint anywhere"}
	}
	if f.kind == model.ClusterIP {
		masquerade := c.Config.MasqueradeAll || c.tellsPods(p.Source.Is4()) && !c.isPod(p)
		if f.service.InternalPolicy == model.PolicyLocal {
			return c.deliver(p, local, masquerade, "internal policy Local")
		}
		return c.deliver(p, cluster, masquerade, "internal policy Cluster")
	}
	switch {
	case f.service.ExternalPolicy == model.PolicyCluster:
		return c.deliver(p, cluster, true, "external policy Cluster")
	case c.tellsPods(p.Source.Is4()) && c.isPod(p):
		return c.deliver(p, cluster, false, "external policy Local, from a pod")
	case p.fromNode():
		return c.deliver(p, cluster, true, "external policy Local, from this node")
	}
	return c.deliver(p, local, false, "external policy Local")
}

// deliver is an answer by any of the backends; without one, nobody answers here,
// since another node may.
func (c *Cluster) deliver(p Packet, backends []endpoint, masquerade bool, because string) Answer {
	if len(backends) == 0 {
		return Answer{Verdict: Dropped, Because: because + ", endpoints only elsewhere"}
	}
	a := Answer{Verdict: Delivered, Because: because}
	for _, b := range backends {
		d := Delivery{Backend: b.backend}
		hairpin := b.Addr == p.Source && c.isOnThisNode(b.Addr)
		if (masquerade || hairpin) && c.leaves(p, b) {
			d.Sources = c.Toward(b.Addr)
		}
		a.Deliveries = append(a.Deliveries, d)
	}
	return a
}

// leaves reports whether the connection passes where the kernel masquerades, on
// the way out of the node: what comes from outside and ends in this node's own
// network does not.
func (c *Cluster) leaves(p Packet, b endpoint) bool {
	return p.fromNode() || !slices.Contains(c.HostAddrs, b.Addr)
}

// tellsPods reports whether pods can be told from other sources at all.
func (c *Cluster) tellsPods(is4 bool) bool {
	ofFamily := func(p netip.Prefix) bool { return p.Addr().Is4() == is4 }
	switch c.Config.DetectLocal {
	case proxy.DetectClusterCIDR:
		return slices.ContainsFunc(c.Config.ClusterCIDRs, ofFamily)
	case proxy.DetectNodeCIDR:
		return slices.ContainsFunc(c.Node.PodCIDRs, ofFamily)
	case proxy.DetectBridgeInterface, proxy.DetectInterfaceNamePrefix:
		return c.Config.PodInterface != ""
	}
	return false
}

// isPod reports whether the packet comes from a pod, as the mode tells them.
func (c *Cluster) isPod(p Packet) bool {
	switch c.Config.DetectLocal {
	case proxy.DetectClusterCIDR:
		return anyContains(c.Config.ClusterCIDRs, p.Source)
	case proxy.DetectNodeCIDR:
		return anyContains(c.Node.PodCIDRs, p.Source)
	case proxy.DetectBridgeInterface:
		return p.Interface == c.Config.PodInterface
	case proxy.DetectInterfaceNamePrefix:
		return !p.fromNode() && strings.HasPrefix(p.Interface, c.Config.PodInterface)
	}
	return false
}

// isAllowedSource: loadBalancerSourceRanges of the packet's family hold the
// source. None of the family, or one with everyone, is no filter. The Service's
// own addresses are allowed where the node's are.
func (c *Cluster) isAllowedSource(p Packet, s *model.Service) bool {
	filtered := false
	for _, r := range s.SourceRanges {
		if r.Addr().Is4() != p.Source.Is4() {
			continue
		}
		filtered = true
		if r.Bits() == 0 || r.Contains(p.Source) {
			return true
		}
		if slices.Contains(s.LoadBalancerIPs, p.Source) && slices.ContainsFunc(c.Node.InternalIPs, r.Contains) {
			return true
		}
	}
	return !filtered
}
