package simulation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// newService makes a Service, or writes over one that is there.
func (g *generator) newService() model.Update {
	name := one(g, serviceNames...)
	s := &model.Service{Name: name}
	g.birth(s)
	s.ClusterIPs = g.clusterIPs()
	g.ports(s)
	g.changeAddresses(s)
	for range 3 {
		s = g.changeService(s)
	}
	return serviceUpdate(name, s)
}

// birth gives a Service its identity. Two may have the same age.
func (g *generator) birth(s *model.Service) {
	g.serial++
	g.now = g.now.Add(time.Duration(g.rng.IntN(3)-1) * time.Second)
	s.UID, s.Created = fmt.Sprintf("uid-%d", g.rng.IntN(1000)*1000+g.serial), g.now
}

func serviceUpdate(name model.ServiceName, s *model.Service) model.Update {
	return model.Update{Services: map[model.ServiceName]*model.Service{name: s}}
}

// service changes a Service that is there; nil is a deletion.
func (g *generator) service(change func(*model.Service) *model.Service) model.Update {
	name, ok := g.anyService()
	if !ok {
		return g.newService()
	}
	s := *g.world.services[name]
	return serviceUpdate(name, change(&s))
}

func (g *generator) anyService() (model.ServiceName, bool) {
	names := slices.SortedFunc(maps.Keys(g.world.services), model.ServiceName.Compare)
	if len(names) == 0 {
		return model.ServiceName{}, false
	}
	return one(g, names...), true
}

// recreate: the same name, another Service.
func (g *generator) recreate() model.Update {
	return g.service(func(s *model.Service) *model.Service {
		g.birth(s)
		if g.chance(70) {
			s.ClusterIPs = g.clusterIPs()
		}
		if g.chance(30) {
			g.ports(s)
		}
		return s
	})
}

// swapAddresses: two Services exchange their cluster IPs in one update.
func (g *generator) swapAddresses() model.Update {
	m, ok := g.anyService()
	n, _ := g.anyService()
	if !ok || m == n {
		return g.newService()
	}
	a, b := *g.world.services[m], *g.world.services[n]
	a.ClusterIPs, b.ClusterIPs = b.ClusterIPs, a.ClusterIPs
	return model.Update{Services: map[model.ServiceName]*model.Service{m: &a, n: &b}}
}

func (g *generator) clusterIPs() []netip.Addr {
	v4, v6 := clusterIP(1+g.rng.IntN(9)), clusterIP(101+g.rng.IntN(9))
	return one(g, []netip.Addr{v4, v6}, []netip.Addr{v6, v4}, []netip.Addr{v4}, []netip.Addr{v6})
}

// ports gives a Service its ports: names and protocol together are unique, as
// are number and protocol.
func (g *generator) ports(s *model.Service) {
	s.Ports = nil
	for range 1 + g.rng.IntN(3) {
		p := model.ServicePort{Name: one(g, portNames...), Protocol: one(g, protocols...), Port: one(g, portNumbers...), NodePort: one(g, nodePorts...)}
		if !slices.ContainsFunc(s.Ports, func(o model.ServicePort) bool {
			return o.Protocol == p.Protocol && (o.Name == p.Name || o.Port == p.Port)
		}) {
			s.Ports = append(s.Ports, p)
		}
	}
}

func (g *generator) changeAddresses(s *model.Service) {
	s.ExternalIPs = some(g, g.rng.IntN(4), externalAddrs)
	s.LoadBalancerIPs = some(g, g.rng.IntN(4), externalAddrs)
}

// changeService changes one thing about a Service.
func (g *generator) changeService(s *model.Service) *model.Service {
	switch g.rng.IntN(9) {
	case 0:
		g.ports(s)
	case 1:
		s.InternalPolicy = one(g, model.PolicyCluster, model.PolicyLocal)
	case 2:
		s.ExternalPolicy = one(g, model.PolicyCluster, model.PolicyLocal)
	case 3:
		s.Affinity = one(g, affinities...)
	case 4:
		s.SourceRanges = some(g, 4, ranges)
	case 5: // from or to a load balancer
		s.LoadBalancerIPs = some(g, 2, externalAddrs)
	case 6:
		g.changeAddresses(s)
	case 7: // the type: node ports come and go
		s.Ports = slices.Clone(s.Ports)
		for i := range s.Ports {
			s.Ports[i].NodePort = one(g, nodePorts...)
		}
	case 8:
		s.ClusterIPs = g.clusterIPs()
	}
	return s
}

func sliceUpdate(list ...*model.EndpointSlice) model.Update {
	u := model.Update{Slices: map[model.SliceName]*model.EndpointSlice{}}
	for _, s := range list {
		u.Slices[s.Name] = s
	}
	return u
}

func (g *generator) newSlice() model.Update {
	service := one(g, serviceNames...)
	s := &model.EndpointSlice{
		Name:    model.SliceName{Namespace: service.Namespace, Name: fmt.Sprintf("%s-%d", service.Name, g.rng.IntN(3))},
		Service: service, Ports: g.slicePorts(),
	}
	is4 := g.chance(60)
	for range g.rng.IntN(6) {
		s.Endpoints = append(s.Endpoints, g.endpoint(is4))
	}
	return sliceUpdate(s)
}

func (g *generator) slicePorts() []model.EndpointPort {
	var ports []model.EndpointPort
	number := one[uint16](g, 8080, 9090)
	for _, name := range portNames {
		for _, p := range []model.Protocol{model.TCP, model.UDP, model.SCTP} {
			if g.chance(85) {
				ports = append(ports, model.EndpointPort{Name: name, Protocol: p, Port: number})
			}
		}
	}
	return ports
}

// endpoint makes an endpoint. Its address says on which node it is, as in life,
// but not always.
func (g *generator) endpoint(is4 bool) model.Endpoint {
	i := g.rng.IntN(16)
	e := model.Endpoint{Addr: pod(i, is4), Node: nodeNames[i%len(nodeNames)], State: g.state()}
	if g.chance(2) {
		e.Node = one(g, nodeNames...)
	}
	if g.hinting {
		e.Hints = &model.Hints{Zones: zones[1+i%2 : 2+i%2], Nodes: nodeNames[1+i%2 : 1+i%4]}
	}
	if g.chance(2) {
		g.hinting = !g.hinting
	}
	if g.chance(2) {
		e.Hints = g.hints()
	}
	return e
}

func (g *generator) state() model.EndpointState {
	return one(g,
		model.Ready|model.Serving, model.Ready|model.Serving, model.Ready|model.Serving, model.Ready|model.Serving,
		model.Serving|model.Terminating, model.Serving|model.Terminating, model.Terminating, 0, model.Serving,
		model.Ready|model.Serving|model.Terminating, model.Ready)
}

func (g *generator) hints() *model.Hints {
	if g.chance(40) {
		return nil
	}
	return &model.Hints{Zones: some(g, 2, zones[1:]), Nodes: some(g, 1, nodeNames[1:4])}
}

// slice changes a slice that is there; nil is a deletion.
func (g *generator) slice(change func(*model.EndpointSlice) *model.EndpointSlice) model.Update {
	name, ok := g.anySlice()
	if !ok {
		return g.newSlice()
	}
	s := *g.world.slices[name]
	s.Endpoints = slices.Clone(s.Endpoints)
	return model.Update{Slices: map[model.SliceName]*model.EndpointSlice{name: change(&s)}}
}

func (g *generator) anySlice() (model.SliceName, bool) {
	byName := func(a, b model.SliceName) int { return strings.Compare(a.String(), b.String()) }
	names := slices.SortedFunc(maps.Keys(g.world.slices), byName)
	if len(names) == 0 {
		return model.SliceName{}, false
	}
	return one(g, names...), true
}

// changeSlice changes one thing about a slice.
func (g *generator) changeSlice(s *model.EndpointSlice) *model.EndpointSlice {
	is4 := len(s.Endpoints) == 0 || s.Endpoints[0].Addr.Is4()
	switch n := g.rng.IntN(20); {
	case n == 0: // another Service's
		s.Service.Name = one(g, serviceNames...).Name
	case n == 1:
		s.Ports = g.slicePorts()
	case n == 2: // the same again, as a resync brings it
	case n < 8:
		s.Endpoints = append(s.Endpoints, g.endpoint(is4))
	case n < 12 && len(s.Endpoints) > 0:
		i := g.rng.IntN(len(s.Endpoints))
		s.Endpoints = slices.Delete(s.Endpoints, i, i+1)
	case n < 17 && len(s.Endpoints) > 0:
		s.Endpoints[g.rng.IntN(len(s.Endpoints))].State = g.state()
	case n < 18 && len(s.Endpoints) > 0:
		s.Endpoints[g.rng.IntN(len(s.Endpoints))].Hints = g.hints()
	default: // all at once: a drain, or a roll-out that ends
		state := g.state()
		for i := range s.Endpoints {
			s.Endpoints[i].State = state
		}
	}
	return s
}

// moveEndpoints splits, merges or shifts: endpoints go from one slice to another
// of the same Service, in one update or with both having them.
func (g *generator) moveEndpoints() model.Update {
	name, ok := g.anySlice()
	if !ok {
		return g.newSlice()
	}
	from := *g.world.slices[name]
	to := from
	to.Name.Name = fmt.Sprintf("%s-%d", from.Service.Name, g.rng.IntN(3))
	if to.Name == from.Name {
		return g.newSlice()
	}
	if there := g.world.slices[to.Name]; there != nil {
		to = *there
	}
	at := g.rng.IntN(1 + len(from.Endpoints))
	to.Endpoints = slices.Concat(to.Endpoints, from.Endpoints[at:])
	if g.chance(30) {
		return sliceUpdate(&to) // for now they are in both
	}
	from.Endpoints = slices.Clone(from.Endpoints[:at])
	if len(from.Endpoints) == 0 && g.chance(50) {
		u := sliceUpdate(&to)
		u.Slices[from.Name] = nil
		return u
	}
	return sliceUpdate(&from, &to)
}

// scale makes a slice big or small at once.
func (g *generator) scale() model.Update {
	return g.slice(func(s *model.EndpointSlice) *model.EndpointSlice {
		is4 := len(s.Endpoints) == 0 || s.Endpoints[0].Addr.Is4()
		s.Endpoints = nil
		for i := range one(g, 0, 1, 2, 5, 40, 90) {
			e := g.endpoint(is4)
			e.Addr, e.State = pod(i, is4), one(g, e.State, model.Ready|model.Serving)
			s.Endpoints = append(s.Endpoints, e)
		}
		return s
	})
}
