package proxy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// cluster is what the sources have told: the loop's own copy of the world.
type cluster struct {
	services     map[model.ServiceName]*model.Service
	slices       map[model.SliceName]*model.EndpointSlice
	byService    map[model.ServiceName][]*model.EndpointSlice // sorted by name
	node         model.Node
	serviceCIDRs []netip.Prefix
	hostAddrs    []netip.Addr
	problems     map[model.ObjectRef][]model.Problem
}

func newCluster() *cluster {
	return &cluster{
		services:  map[model.ServiceName]*model.Service{},
		slices:    map[model.SliceName]*model.EndpointSlice{},
		byService: map[model.ServiceName][]*model.EndpointSlice{},
		problems:  map[model.ObjectRef][]model.Problem{},
	}
}

// apply takes an update and reports which services it touches, and whether it
// changes anything that concerns all of them.
func (c *cluster) apply(u *model.Update) (touched []model.ServiceName, host bool) {
	c.reserve(u)
	touched = make([]model.ServiceName, 0, len(u.Services)+len(u.Slices))
	for name, svc := range u.Services {
		if svc == nil {
			delete(c.services, name)
		} else {
			c.services[name] = svc
		}
		touched = append(touched, name)
	}
	for name, slice := range u.Slices {
		if old := c.slices[name]; old != nil {
			c.unlink(old)
			touched = append(touched, old.Service)
			delete(c.slices, name)
		}
		if slice != nil {
			c.slices[name] = slice
			c.link(slice)
			touched = append(touched, slice.Service)
		}
	}
	c.applyProblems(u.Problems)
	return touched, c.applyHost(u)
}

// reserve makes room for the first list at once: a map that grows is copied again
// and again, and leaves garbage that counts when memory is at its peak.
func (c *cluster) reserve(u *model.Update) {
	if len(c.services) == 0 {
		c.services = make(map[model.ServiceName]*model.Service, len(u.Services))
	}
	if len(c.slices) == 0 {
		c.slices = make(map[model.SliceName]*model.EndpointSlice, len(u.Slices))
		c.byService = make(map[model.ServiceName][]*model.EndpointSlice, len(u.Slices))
	}
}

func (c *cluster) applyHost(u *model.Update) (changed bool) {
	if u.Node != nil {
		c.node, changed = *u.Node, true
	}
	if u.ServiceCIDRs != nil {
		c.serviceCIDRs, changed = *u.ServiceCIDRs, true
	}
	if u.HostAddrs != nil {
		c.hostAddrs, changed = *u.HostAddrs, true
	}
	return changed
}

func (c *cluster) applyProblems(problems map[model.ObjectRef][]model.Problem) {
	for ref, ps := range problems {
		if len(ps) == 0 {
			delete(c.problems, ref)
		} else {
			c.problems[ref] = ps
		}
	}
}

func (c *cluster) link(s *model.EndpointSlice) {
	list := c.byService[s.Service]
	at, _ := slices.BinarySearchFunc(list, s, compareSlices)
	c.byService[s.Service] = slices.Insert(list, at, s)
}

func (c *cluster) unlink(s *model.EndpointSlice) {
	list := slices.DeleteFunc(c.byService[s.Service], func(o *model.EndpointSlice) bool { return o.Name == s.Name })
	if len(list) == 0 {
		delete(c.byService, s.Service)
		return
	}
	c.byService[s.Service] = list
}

func compareSlices(a, b *model.EndpointSlice) int { return strings.Compare(a.Name.Name, b.Name.Name) }
