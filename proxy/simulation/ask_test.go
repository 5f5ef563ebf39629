package simulation

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/oracle"
)

// ask holds the table's elements against the oracle, which knows nothing of
// tables: for each frontend, and packets from several sources, who gets them.
// (That the rules do with the elements what is assumed here, the oracle's own
// tests prove with packets.)
func (p *player) ask() []string {
	c := p.world.oracle(p.config)
	t := &table{p.dataplane.memory.copy(), p.config}
	var lines []string
	for _, key := range p.world.destinations() {
		if key.Addr.Is4() && !p.config.IPv4 || !key.Addr.Is4() && !p.config.IPv6 {
			continue
		}
		if p.world.isContradictory(key.Addr) {
			continue
		}
		for _, source := range packetSources(key.Addr) {
			packet := source
			packet.To, packet.Protocol = netip.AddrPortFrom(key.Addr, key.Port), key.Protocol
			answer := c.Answer(packet)
			verdict, backends := t.answer(packet)
			p.figures.asked++
			if verdict != answer.Verdict || !slices.Equal(backends, deliveredTo(&answer)) {
				lines = append(lines, fmt.Sprintf("! %s from %s by %q: oracle: %s; table: %s %v", key, packet.Source, packet.Interface, &answer, verdict, backends))
			}
		}
	}
	return lines
}

func deliveredTo(a *oracle.Answer) []model.Backend {
	var list []model.Backend
	for _, d := range a.Deliveries {
		list = append(list, d.Backend)
	}
	slices.SortFunc(list, model.Backend.Compare)
	return list
}

// oracle is the oracle of this world.
func (w *world) oracle(config proxy.Config) *oracle.Cluster {
	c := &oracle.Cluster{
		Config: config, Node: w.node, ServiceCIDRs: w.serviceCIDRs, HostAddrs: w.hostAddrs,
		Toward: func(netip.Addr) []netip.Addr { return nodeAddrs[:1] },
	}
	for _, s := range w.services {
		c.Services = append(c.Services, s)
	}
	for _, s := range w.slices {
		c.Slices = append(c.Slices, s)
	}
	return c
}

// destinations are all that Services may be called by, and some more.
func (w *world) destinations() []model.FrontendKey {
	all := map[model.FrontendKey]bool{}
	for _, s := range w.services {
		for _, p := range s.Ports {
			for _, addrs := range [][]netip.Addr{s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs, nodeAddrs} {
				for _, a := range addrs {
					all[model.FrontendKey{Addr: a, Port: p.Port, Protocol: p.Protocol}] = true
					all[model.FrontendKey{Addr: a, Port: p.NodePort, Protocol: p.Protocol}] = true
				}
			}
		}
	}
	var list []model.FrontendKey
	for k := range all {
		if k.Port != 0 {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, model.FrontendKey.Compare)
	return list
}

// isContradictory reports whether a Service that may have the address has an
// endpoint of which two slices tell equally good things that can't both be true:
// another node, or other hints. Which one counts is nobody's business.
func (w *world) isContradictory(a netip.Addr) bool {
	for _, s := range w.services {
		told := map[netip.Addr][]model.Endpoint{}
		for _, slice := range w.slices {
			for _, e := range slice.Endpoints {
				if slice.Service == s.Name {
					told[e.Addr] = append(told[e.Addr], e)
				}
			}
		}
		mine := slices.Contains(slices.Concat(s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs, nodeAddrs), a)
		for _, list := range told {
			for _, e := range list {
				if mine && (e.Node != list[0].Node || !reflect.DeepEqual(e.Hints, list[0].Hints)) {
					return true
				}
			}
		}
	}
	return false
}

// packetSources are a pod of this node, one that may be a pod elsewhere, clients
// outside, and processes of this node, one of which calls from the address it calls.
func packetSources(to netip.Addr) []oracle.Packet {
	list := []struct{ v4, v6, device string }{
		{"10.244.0.5", "fd00:10:244::5", "veth1"}, {"10.244.1.5", "fd00:10:244:1::5", "eth0"},
		{"198.51.100.7", "2001:db8:100::7", "eth0"}, {"203.0.113.9", "2001:db8:9::9", "cni0"}, {"192.0.2.10", "2001:db8:2::10", ""},
	}
	var packets []oracle.Packet
	for _, s := range list {
		text := s.v6
		if to.Is4() {
			text = s.v4
		}
		packets = append(packets, oracle.Packet{Source: netip.MustParseAddr(text), Interface: s.device})
	}
	return append(packets, oracle.Packet{Source: to})
}

// table answers from the elements.
type table struct {
	*nft.Table
	config proxy.Config
}

func (t *table) answer(p oracle.Packet) (oracle.Verdict, []model.Backend) {
	suffix := "6"
	if p.To.Addr().Is4() {
		suffix = "4"
	}
	key := nft.Value{}.Addr(p.To.Addr()).Protocol(nft.Protocol(p.Protocol)).Port(p.To.Port())
	find := func(set string) (nft.Element, bool) { return t.find(set+suffix, key) }
	if _, ok := find("firewalled"); ok {
		if _, ok := t.find("allowed-sources"+suffix, key.Addr(p.Source)); !ok {
			return oracle.Dropped, nil
		}
	}
	services, backends := "services", "backends"
	if external, ok := find("external"); ok && external.Verdict.Chain == "external-local"+suffix && !t.isPod(p, suffix) && p.Interface != "" {
		services, backends = "local-services", "local-backends"
	}
	if _, ok := find(services); ok {
		if list := t.slots(backends+suffix, p); len(list) > 0 {
			return oracle.Delivered, list
		}
	}
	if blocked, ok := find("blocked"); ok && blocked.Verdict.Kind == nft.Drop {
		return oracle.Dropped, nil
	} else if ok {
		return oracle.Refused, nil
	}
	if _, ok := t.find("cluster-ips"+suffix, nft.Value{}.Addr(p.To.Addr())); ok {
		return oracle.Refused, nil
	}
	if _, ok := t.find("service-cidrs"+suffix, nft.Value{}.Addr(p.To.Addr())); ok {
		return oracle.Dropped, nil
	}
	return oracle.NotService, nil
}

// find finds the element that a key meets.
func (t *table) find(set string, key nft.Value) (nft.Element, bool) {
	s := t.Set(set)
	e := nft.Element{Key: key}
	at := slices.IndexFunc(s.Elements, func(o nft.Element) bool { return overlap(s.Key, &o, &e) })
	if at < 0 {
		return nft.Element{}, false
	}
	return s.Elements[at], true
}

// slots are the backends that a chain of the frontend may draw, sorted.
func (t *table) slots(set string, p oracle.Packet) []model.Backend {
	var list []model.Backend
	s := t.Set(set)
	for i := range s.Elements {
		e := &s.Elements[i]
		if at := frontendOf(s, &e.Key); at.Addr == p.To.Addr() && at.Port == p.To.Port() && at.Protocol == p.Protocol {
			list = append(list, backendOf(s, &e.Data))
		}
	}
	slices.SortFunc(list, model.Backend.Compare)
	return list
}

// isPod reports whether the rules take the source for a pod.
func (t *table) isPod(p oracle.Packet, suffix string) bool {
	switch t.config.DetectLocal {
	case proxy.DetectBridgeInterface:
		return p.Interface != "" && p.Interface == t.config.PodInterface
	case proxy.DetectInterfaceNamePrefix:
		return t.config.PodInterface != "" && strings.HasPrefix(p.Interface, t.config.PodInterface)
	}
	_, ok := t.find("pod-cidrs"+suffix, nft.Value{}.Addr(p.Source))
	return ok
}
