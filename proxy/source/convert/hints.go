package convert

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// hintCache makes endpoints with the same hints share one value: a cluster has as
// many different hints as zones and nodes, and as many hints as endpoints.
type hintCache struct {
	known generations[*model.Hints]
	key   []byte
}

func (h *hintCache) share(in *discoveryv1.EndpointHints) *model.Hints {
	if in == nil || len(in.ForZones)+len(in.ForNodes) == 0 {
		return nil
	}
	h.key = h.key[:0]
	for i := range in.ForZones {
		h.key = append(append(h.key, 'z'), in.ForZones[i].Name...)
		h.key = append(h.key, 0)
	}
	for i := range in.ForNodes {
		h.key = append(append(h.key, 'n'), in.ForNodes[i].Name...)
		h.key = append(h.key, 0)
	}
	return h.known.get(h.key, func() *model.Hints { return newHints(in) })
}

func newHints(in *discoveryv1.EndpointHints) *model.Hints {
	var hints model.Hints
	for i := range in.ForZones {
		hints.Zones = append(hints.Zones, in.ForZones[i].Name)
	}
	for i := range in.ForNodes {
		hints.Nodes = append(hints.Nodes, in.ForNodes[i].Name)
	}
	return &hints
}
