package simulation

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/oracle"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// ask holds the table's elements against the oracle, which knows nothing of
// tables: for each frontend, and packets from several sources, who gets them.
// (That the rules do with the elements what is assumed here, the oracle's own
// tests prove with packets.)
func (p *player) ask() []string {
	c := p.world.oracle(p.config)
	t := newTable(p.dataplane.memory.copy(), p.config)
	contradictory := p.world.contradictory()
	var lines []string
	for _, key := range p.world.destinations() {
		if key.Addr.Is4() && !p.config.IPv4 || !key.Addr.Is4() && !p.config.IPv6 || contradictory[key.Addr] {
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

// contradictory are the addresses that a Service may have with an endpoint of
// which two slices tell what can't both be true: another node, or other hints.
// Which one counts is nobody's business.
func (w *world) contradictory() map[netip.Addr]bool {
	type endpoint struct {
		service model.ServiceName
		addr    netip.Addr
	}
	told := map[endpoint]model.Endpoint{}
	bad := map[model.ServiceName]bool{}
	for _, s := range w.slices {
		for _, e := range s.Endpoints {
			at := endpoint{s.Service, e.Addr}
			if was, twice := told[at]; twice && (e.Node != was.Node || !reflect.DeepEqual(e.Hints, was.Hints)) {
				bad[s.Service] = true
			}
			told[at] = e
		}
	}
	all := map[netip.Addr]bool{}
	for name, s := range w.services {
		if bad[name] {
			for _, a := range slices.Concat(s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs, nodeAddrs) {
				all[a] = true
			}
		}
	}
	return all
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
	pools  map[rulesettest.PoolName]*rulesettest.Pool
	byKey  map[string]map[nft.Value]nft.Element // of sets without intervals
}

func newTable(t *nft.Table, config proxy.Config) *table {
	out := &table{t, config, rulesettest.Pools(rulesettest.Elements(t)), map[string]map[nft.Value]nft.Element{}}
	for s, e := range rulesettest.Elements(t) {
		if out.byKey[s.Name] == nil {
			out.byKey[s.Name] = map[nft.Value]nft.Element{}
		}
		out.byKey[s.Name][e.Key] = *e
	}
	return out
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
	if e, ok := find("services"); ok && strings.HasPrefix(e.Verdict.Chain, "external-local-") && !t.isPod(p, suffix) && p.Interface != "" {
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
	if !s.Interval {
		e, ok := t.byKey[set][key]
		return e, ok
	}
	e := nft.Element{Key: key}
	at := slices.IndexFunc(s.Elements, func(o nft.Element) bool { return overlap(s.Key, &o, &e) })
	if at < 0 {
		return nft.Element{}, false
	}
	return s.Elements[at], true
}

// slots are the backends that a chain of the frontend may draw, sorted.
func (t *table) slots(set string, p oracle.Packet) []model.Backend {
	pool := t.pools[rulesettest.PoolName{Set: set, FrontendKey: model.FrontendKey{Addr: p.To.Addr(), Port: p.To.Port(), Protocol: p.Protocol}}]
	if pool == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(pool.Slots), model.Backend.Compare)
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
