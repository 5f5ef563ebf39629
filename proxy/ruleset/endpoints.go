package ruleset

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// portEndpoint is one endpoint of one service port.
type portEndpoint struct {
	backend model.Backend
	*model.Endpoint
}

// portEndpoints merges the slices of a Service for one of its ports: each slice
// brings its own port number for the port's name. Of two endpoints with one
// address and port, one that is not terminating wins.
func portEndpoints(sliceList []*model.EndpointSlice, port *model.ServicePort) []portEndpoint {
	var eps []portEndpoint
	for _, slice := range sliceList {
		number := slicePort(slice, port)
		if number == 0 {
			continue
		}
		for i := range slice.Endpoints {
			ep := &slice.Endpoints[i]
			eps = append(eps, portEndpoint{netip.AddrPortFrom(ep.Addr, number), ep})
		}
	}
	slices.SortFunc(eps, comparePortEndpoints)
	return slices.CompactFunc(eps, func(a, b portEndpoint) bool { return a.backend == b.backend })
}

func slicePort(slice *model.EndpointSlice, port *model.ServicePort) uint16 {
	for i := range slice.Ports {
		if p := &slice.Ports[i]; p.Name == port.Name && p.Protocol == port.Protocol {
			return p.Port
		}
	}
	return 0
}

// comparePortEndpoints orders by backend; of one backend, first what is not
// terminating, then what is ready, then what serves, then by node, so that the
// order of slices decides nothing.
func comparePortEndpoints(a, b portEndpoint) int {
	if c := a.backend.Compare(b.backend); c != 0 {
		return c
	}
	rank := func(e portEndpoint) (n int) {
		if e.State.Has(model.Terminating) {
			n += 4
		}
		if !e.State.Has(model.Ready) {
			n += 2
		}
		if !e.State.Has(model.Serving) {
			n++
		}
		return n
	}
	if c := rank(a) - rank(b); c != 0 {
		return c
	}
	return strings.Compare(a.Node, b.Node)
}

// selection is who serves a service port in one family. All lists are sorted.
type selection struct {
	cluster  []model.Backend // for policy Cluster
	local    []model.Backend // for policy Local
	onNode   []model.Backend // those of either that are on this node
	serving  []model.Backend // all that serve, new connections or not
	anywhere bool            // some endpoint serves somewhere
}

// choose applies policies and topology to the endpoints of one family:
//
//   - Cluster: the Ready ones that the topology selects; if none is Ready
//     anywhere, those that still serve while they terminate (KEP-1669);
//   - Local: the Ready ones of this node; if none, those of this node that still
//     serve while they terminate. No topology.
func choose(eps []portEndpoint, f *family, loc *Locality) selection {
	var s selection
	var ready, terminating, localTerminating []portEndpoint
	for _, ep := range eps {
		if familyOf(ep.Addr) != f {
			continue
		}
		if ep.State.Has(model.Ready) || ep.State.Has(model.Serving) {
			s.serving = append(s.serving, ep.backend)
		}
		local := ep.Node != "" && ep.Node == loc.Node
		switch {
		case ep.State.Has(model.Ready):
			ready = append(ready, ep)
			if local {
				s.local = append(s.local, ep.backend)
			}
		case ep.State.Has(model.Serving | model.Terminating):
			terminating = append(terminating, ep)
			if local {
				localTerminating = append(localTerminating, ep)
			}
		}
	}
	s.anywhere = len(ready)+len(terminating) > 0
	if len(s.local) == 0 {
		s.local = backendsOf(localTerminating)
	}
	chosen := nearby(ready, loc)
	if len(ready) == 0 {
		chosen = terminating
	}
	s.cluster = backendsOf(chosen)
	s.onNode = slices.Clone(s.local)
	for _, ep := range chosen {
		if ep.Node != "" && ep.Node == loc.Node {
			s.onNode = append(s.onNode, ep.backend)
		}
	}
	return s
}

func backendsOf(eps []portEndpoint) []model.Backend {
	if len(eps) == 0 {
		return nil
	}
	bs := make([]model.Backend, len(eps))
	for i, ep := range eps {
		bs[i] = ep.backend
	}
	return bs
}

// nearby filters ready endpoints by their hints: if all carry node hints and one
// names this node, those (KEP-3015); else if all carry zone hints and one names
// this node's zone, those (KEP-2433); else all.
func nearby(eps []portEndpoint, loc *Locality) []portEndpoint {
	if out, ok := hinted(eps, loc.Node, func(h *model.Hints) []string { return h.Nodes }); ok {
		return out
	}
	if out, ok := hinted(eps, loc.Zone, func(h *model.Hints) []string { return h.Zones }); ok {
		return out
	}
	return eps
}

func hinted(eps []portEndpoint, want string, of func(*model.Hints) []string) (out []portEndpoint, ok bool) {
	if want == "" {
		return nil, false
	}
	for _, ep := range eps {
		if ep.Hints == nil || len(of(ep.Hints)) == 0 {
			return nil, false
		}
		if slices.Contains(of(ep.Hints), want) {
			out = append(out, ep)
		}
	}
	return out, len(out) > 0
}

// disjoint sorts prefixes and removes those that another one covers: an
// interval set takes no overlaps.
func disjoint(ps []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(ps)
	slices.SortFunc(sorted, comparePrefixes)
	out := sorted[:0]
	for _, p := range sorted {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// comparePrefixes orders by address, wider ones first.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
