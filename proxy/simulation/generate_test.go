package simulation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// generator invents the life of a cluster, event by event. Everything comes from
// small pools, so that collisions are the rule: addresses and ports that several
// Services claim, in several roles, names that come back, endpoints in several
// slices.
type generator struct {
	rng    *rand.Rand
	world  *world
	config proxy.Config
	serial int

	hinting bool // the controller that writes slices gives hints
	now     time.Time
}

func newGenerator(seed uint64) *generator {
	g := &generator{
		rng: rand.New(rand.NewPCG(seed, seed)), world: newWorld(),
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	g.config = proxy.DefaultConfig()
	g.config.NodeName = "node-a"
	return g
}

// history invents a number of events. The first begins a proxy.
func (g *generator) history(steps int) []event {
	config := g.config
	events := []event{{restart: &config, updates: []model.Update{g.emit(g.nodeChange(), g.newService(), g.newService())}}}
	for len(events) < steps {
		events = append(events, g.event())
	}
	return events
}

// event invents the next event and lets it happen to the generator's world.
func (g *generator) event() event {
	var e event
	switch n := g.rng.IntN(100); {
	case n < 2:
		config := g.config
		e.restart = &config
	case n < 5:
		g.changeConfig()
		config := g.config
		e.restart = &config
	case n < 13:
		e.fault = fault(1 + g.rng.IntN(int(readInterrupted)))
	}
	for range 1 + g.rng.IntN(2) {
		var parts []model.Update
		for range 1 + g.rng.IntN(1+g.rng.IntN(5)) {
			part := g.change()
			g.world.apply(&part)
			parts = append(parts, part)
		}
		e.updates = append(e.updates, merged(parts...))
	}
	return e
}

// emit lets parts happen and returns them as one update.
func (g *generator) emit(parts ...model.Update) model.Update {
	u := merged(parts...)
	g.world.apply(&u)
	return u
}

// merged is several updates as one; the later ones win.
func merged(parts ...model.Update) model.Update {
	var u model.Update
	for _, p := range parts {
		u.Services = joined(u.Services, p.Services)
		u.Slices = joined(u.Slices, p.Slices)
		if p.Node != nil {
			u.Node = p.Node
		}
		if p.ServiceCIDRs != nil {
			u.ServiceCIDRs = p.ServiceCIDRs
		}
		if p.HostAddrs != nil {
			u.HostAddrs = p.HostAddrs
		}
	}
	return u
}

func joined[K comparable, V any](a, b map[K]V) map[K]V {
	if a == nil {
		return maps.Clone(b)
	}
	maps.Copy(a, b)
	return a
}

// change invents one change.
func (g *generator) change() model.Update {
	switch n := g.rng.IntN(100); {
	case n < 7:
		return g.newService()
	case n < 10:
		return g.service(func(*model.Service) *model.Service { return nil })
	case n < 13:
		return g.recreate()
	case n < 16:
		return g.swapAddresses()
	case n < 35:
		return g.service(g.changeService)
	case n < 42:
		return g.newSlice()
	case n < 46:
		return g.slice(func(*model.EndpointSlice) *model.EndpointSlice { return nil })
	case n < 50:
		return g.moveEndpoints()
	case n < 52:
		return g.scale()
	case n < 56:
		return g.nodeChange()
	case n < 58:
		return g.hostChange()
	}
	return g.slice(g.changeSlice)
}

// one takes an element of a list.
func one[T any](g *generator, list ...T) T { return list[g.rng.IntN(len(list))] }

// some takes up to most distinct elements of a list.
func some[T any](g *generator, most int, list []T) []T {
	var out []T
	for _, i := range g.rng.Perm(len(list))[:g.rng.IntN(1+min(most, len(list)))] {
		out = append(out, list[i])
	}
	return out
}

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// The pools.
var (
	serviceNames = []model.ServiceName{
		{Namespace: "a", Name: "api"}, {Namespace: "a", Name: "cart"}, {Namespace: "a", Name: "db"}, {Namespace: "a", Name: "web"},
		{Namespace: "b", Name: "api"}, {Namespace: "b", Name: strings.Repeat("long", 15)}, {Namespace: "b", Name: "web"}, {Namespace: "c", Name: "dns"},
	}
	nodeAddrs = addrs("192.0.2.10", "192.0.2.11", "172.16.0.1", "2001:db8:2::10", "2001:db8:2::11")
	// externalAddrs: two are addresses of the node, and two are cluster IPs.
	externalAddrs = append(addrs("203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8:113::1", "2001:db8:113::2",
		"192.0.2.10", "2001:db8:2::10"), clusterIP(1), clusterIP(101))
	portNumbers = []uint16{53, 80, 443, 30080, 30081}
	nodePorts   = []uint16{0, 0, 30080, 30081, 30082}
	protocols   = []model.Protocol{model.TCP, model.TCP, model.UDP, model.SCTP}
	portNames   = []string{"", "http", "dns"}
	nodeNames   = []string{"node-a", "node-a", "node-b", "node-c", ""}
	zones       = []string{"", "z1", "z2"}
	affinities  = []time.Duration{0, 0, 0, time.Second, time.Minute, 3 * time.Hour}
	ranges      = prefixes("198.51.100.0/24", "198.51.100.128/25", "198.51.100.7/32", "10.0.0.0/8", "192.0.2.0/24",
		"2001:db8:100::/64", "2001:db8::/32", "2001:db8:2::10/128", "0.0.0.0/0")
	cidrs = prefixes("10.96.0.0/24", "10.96.0.0/16", "fd00:10:96::/112", "10.97.0.0/16", "10.96.128.0/17")
	pods  = prefixes("10.244.0.0/24", "10.244.1.0/24", "10.244.0.0/16", "fd00:10:244::/64", "fd00:10:244::/48")
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// clusterIP is the i-th cluster IP: IPv6 from 100 on.
func clusterIP(i int) netip.Addr {
	if i >= 100 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:10:96::%x", i-100))
	}
	return netip.AddrFrom4([4]byte{10, 96, 0, byte(i)})
}

// pod is the i-th endpoint address.
func pod(i int, is4 bool) netip.Addr {
	if is4 {
		return netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)})
	}
	return netip.MustParseAddr(fmt.Sprintf("fd00:10:244::%x", i))
}

func (g *generator) nodeChange() model.Update {
	n := model.Node{
		Name: "node-a", Zone: one(g, zones...), InternalIPs: some(g, 4, nodeAddrs), PodCIDRs: some(g, 3, pods),
	}
	return model.Update{Node: &n}
}

func (g *generator) hostChange() model.Update {
	if g.chance(50) {
		list := some(g, 3, cidrs)
		return model.Update{ServiceCIDRs: &list}
	}
	list := some(g, 5, nodeAddrs)
	return model.Update{HostAddrs: &list}
}

// changeConfig changes something that takes a restart.
func (g *generator) changeConfig() {
	c := &g.config
	switch g.rng.IntN(9) {
	case 0:
		c.IPv4, c.IPv6 = true, g.chance(60)
	case 1:
		c.IPv4, c.IPv6 = g.chance(60), true
	case 2:
		c.DetectLocal = one(g, proxy.DetectNone, proxy.DetectClusterCIDR, proxy.DetectNodeCIDR, proxy.DetectBridgeInterface, proxy.DetectInterfaceNamePrefix)
		c.ClusterCIDRs, c.PodInterface = some(g, 3, pods), one(g, "", "cni0", "veth")
	case 3:
		c.MasqueradeAll = !c.MasqueradeAll
	case 4:
		c.MasqueradeMark = one[uint32](g, 1<<14, 1<<15, 1)
	case 5:
		c.NodePortAddresses = proxy.NodePortAddresses{Primary: g.chance(50), CIDRs: some(g, 2, prefixes("192.0.2.0/24", "0.0.0.0/0", "::/0"))}
	case 6:
		c.AffinitySize = one[uint32](g, 1<<20, 1<<10)
	case 7:
		c.Coalesce = one(g, 0, 5*time.Millisecond)
	case 8:
		c.Own = !c.Own
	}
}
