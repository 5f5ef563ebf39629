package simulation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// world is what there is: the sum of all updates, kept by plain assignment.
type world struct {
	services     map[model.ServiceName]*model.Service
	slices       map[model.SliceName]*model.EndpointSlice
	node         model.Node
	serviceCIDRs []netip.Prefix
	hostAddrs    []netip.Addr
}

func newWorld() *world {
	return &world{services: map[model.ServiceName]*model.Service{}, slices: map[model.SliceName]*model.EndpointSlice{}}
}

func (w *world) apply(u *model.Update) {
	assign(w.services, u.Services)
	assign(w.slices, u.Slices)
	if u.Node != nil {
		w.node = *u.Node
	}
	if u.ServiceCIDRs != nil {
		w.serviceCIDRs = *u.ServiceCIDRs
	}
	if u.HostAddrs != nil {
		w.hostAddrs = *u.HostAddrs
	}
}

func assign[K comparable, V any](into, from map[K]*V) {
	for k, v := range from {
		if v == nil {
			delete(into, k)
		} else {
			into[k] = v
		}
	}
}

// whole is one update with everything.
func (w *world) whole() model.Update {
	node, cidrs, addrs := w.node, w.serviceCIDRs, w.hostAddrs
	return model.Update{
		Services: maps.Clone(w.services), Slices: maps.Clone(w.slices),
		Node: &node, ServiceCIDRs: &cidrs, HostAddrs: &addrs,
	}
}

// event is one step of a history. It holds values, not differences, so that a
// history with some events left out is a history too.
type event struct {
	updates []model.Update // applied one after the other without a pause
	restart *proxy.Config  // before that, a new proxy begins
	fault   fault          // what the next transaction meets
}

// lines tells the event.
func (e *event) lines() []string {
	var lines []string
	if e.fault != noFault {
		lines = append(lines, "the next transaction: "+e.fault.String())
	}
	if c := e.restart; c != nil {
		lines = append(lines, fmt.Sprintf("restart with %+v", *c))
	}
	for i := range e.updates {
		lines = append(lines, updateLines(&e.updates[i])...)
	}
	return lines
}

func updateLines(u *model.Update) []string {
	var lines []string
	for _, name := range slices.SortedFunc(maps.Keys(u.Services), model.ServiceName.Compare) {
		lines = append(lines, serviceLine(name, u.Services[name]))
	}
	byName := func(a, b model.SliceName) int { return strings.Compare(a.String(), b.String()) }
	for _, name := range slices.SortedFunc(maps.Keys(u.Slices), byName) {
		lines = append(lines, sliceLine(name, u.Slices[name]))
	}
	if u.Node != nil {
		lines = append(lines, fmt.Sprintf("node %+v", *u.Node))
	}
	if u.ServiceCIDRs != nil {
		lines = append(lines, fmt.Sprintf("service CIDRs %v", *u.ServiceCIDRs))
	}
	if u.HostAddrs != nil {
		lines = append(lines, fmt.Sprintf("host addresses %v", *u.HostAddrs))
	}
	return lines
}

func serviceLine(name model.ServiceName, s *model.Service) string {
	if s == nil {
		return fmt.Sprintf("service %s is gone", name)
	}
	var ports []string
	for _, p := range s.Ports {
		ports = append(ports, fmt.Sprintf("%s %d/%s node port %d", p.Name, p.Port, p.Protocol, p.NodePort))
	}
	return fmt.Sprintf("service %s: UID %s of %s, ports [%s], cluster IPs %v, external IPs %v, load balancer IPs %v, "+
		"policies %s/%s, affinity %s, sources %v", name, s.UID, s.Created.Format(time.TimeOnly), strings.Join(ports, ", "),
		s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs, s.InternalPolicy, s.ExternalPolicy, s.Affinity, s.SourceRanges)
}

func sliceLine(name model.SliceName, s *model.EndpointSlice) string {
	if s == nil {
		return fmt.Sprintf("slice %s is gone", name)
	}
	var ports, endpoints []string
	for _, p := range s.Ports {
		ports = append(ports, fmt.Sprintf("%s %d/%s", p.Name, p.Port, p.Protocol))
	}
	for _, e := range s.Endpoints {
		hints := ""
		if e.Hints != nil {
			hints = fmt.Sprintf(" hints %v", *e.Hints)
		}
		endpoints = append(endpoints, fmt.Sprintf("%s on %q%s%s", e.Addr, e.Node, stateText(e.State), hints))
	}
	return fmt.Sprintf("slice %s of %s: ports [%s], endpoints [%s]", name, s.Service, strings.Join(ports, ", "), strings.Join(endpoints, ", "))
}

func stateText(s model.EndpointState) string {
	text := ""
	for _, c := range []struct {
		state model.EndpointState
		text  string
	}{{model.Ready, " ready"}, {model.Serving, " serving"}, {model.Terminating, " terminating"}} {
		if s.Has(c.state) {
			text += c.text
		}
	}
	return text
}
