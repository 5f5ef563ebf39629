package oracle

import (
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// endpoint is an endpoint of one service port.
type endpoint struct {
	model.Endpoint
	backend model.Backend
}

func (e endpoint) isReady() bool { return e.State.Has(model.Ready) }

func (e endpoint) isServingAndTerminating() bool {
	return !e.isReady() && e.State.Has(model.Serving|model.Terminating)
}

func (c *Cluster) isLocal(e endpoint) bool { return e.Node != "" && e.Node == c.Config.NodeName }

// isOnThisNode reports whether some slice says that the address is here.
func (c *Cluster) isOnThisNode(a netip.Addr) bool {
	return slices.ContainsFunc(c.Slices, func(s *model.EndpointSlice) bool {
		return slices.ContainsFunc(s.Endpoints, func(e model.Endpoint) bool {
			return e.Addr == a && c.isLocal(endpoint{Endpoint: e})
		})
	})
}

// endpoints are those of all slices of the Service that have the port, of one
// family. What is in several slices counts once: as not terminating if one of
// them says so, else as ready, else as serving.
func (c *Cluster) endpoints(f frontend, is4 bool) []endpoint {
	var list []endpoint
	for _, s := range c.Slices {
		if s.Service != f.service.Name {
			continue
		}
		for _, port := range s.Ports {
			if port.Name != f.port.Name || port.Protocol != f.port.Protocol {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Addr.Is4() == is4 {
					list = merge(list, endpoint{e, netip.AddrPortFrom(e.Addr, port.Port)})
				}
			}
		}
	}
	return list
}

func merge(list []endpoint, e endpoint) []endpoint {
	at := slices.IndexFunc(list, func(o endpoint) bool { return o.backend == e.backend })
	if at < 0 {
		return append(list, e)
	}
	was := list[at].State
	switch {
	case was.Has(model.Terminating) != e.State.Has(model.Terminating):
		if was.Has(model.Terminating) {
			list[at] = e
		}
	case was.Has(model.Ready) != e.State.Has(model.Ready):
		if e.State.Has(model.Ready) {
			list[at] = e
		}
	case e.State.Has(model.Serving):
		list[at] = e
	}
	return list
}

func filter(list []endpoint, keep func(endpoint) bool) []endpoint {
	var out []endpoint
	for _, e := range list {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// serving are those that serve at all: ready, or still serving while terminating.
func serving(all []endpoint) []endpoint {
	return filter(all, func(e endpoint) bool { return e.isReady() || e.isServingAndTerminating() })
}

// clusterBackends serve where the policy is Cluster: the ready ones that the
// topology prefers; if none is ready, those that serve while terminating.
func (c *Cluster) clusterBackends(all []endpoint) []endpoint {
	ready := filter(all, endpoint.isReady)
	if len(ready) == 0 {
		return filter(all, endpoint.isServingAndTerminating)
	}
	if forNode, ok := hinted(ready, c.Config.NodeName, func(h *model.Hints) []string { return h.Nodes }); ok {
		return forNode
	}
	if forZone, ok := hinted(ready, c.Node.Zone, func(h *model.Hints) []string { return h.Zones }); ok {
		return forZone
	}
	return ready
}

// hinted are those whose hints name where we are. It is a choice only if all have
// hints, and if it leaves someone.
func hinted(list []endpoint, here string, names func(*model.Hints) []string) ([]endpoint, bool) {
	for _, e := range list {
		if e.Hints == nil || len(names(e.Hints)) == 0 {
			return nil, false
		}
	}
	forUs := filter(list, func(e endpoint) bool { return slices.Contains(names(e.Hints), here) })
	return forUs, len(forUs) > 0 && here != ""
}

// localBackends serve where the policy is Local: the ready ones of this node; if
// none, those of this node that serve while terminating.
func (c *Cluster) localBackends(all []endpoint) []endpoint {
	local := filter(all, c.isLocal)
	if ready := filter(local, endpoint.isReady); len(ready) > 0 {
		return ready
	}
	return filter(local, endpoint.isServingAndTerminating)
}
