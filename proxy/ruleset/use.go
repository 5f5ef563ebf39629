package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// EndpointUse says whether an endpoint of a service port gets new connections, and
// why not if it does not.
type EndpointUse struct {
	Backend    model.Backend
	Endpoint   *model.Endpoint
	Cluster    bool   // it gets connections where the policy is Cluster
	WhyCluster string // why not, a clause
	Local      bool   // it gets connections where the policy is Local
	WhyLocal   string
}

// Uses says of each endpoint of a service port, in the family of an address, how it
// is used on this node. It explains what Desire decides.
func Uses(port *model.ServicePort, sliceList []*model.EndpointSlice, loc *Locality, addr netip.Addr) []EndpointUse {
	f := familyOf(addr)
	all := portEndpoints(sliceList, port)
	chosen := choose(all, f, loc)
	var ready []portEndpoint
	for _, ep := range all {
		if familyOf(ep.Addr) == f && ep.State.Has(model.Ready) {
			ready = append(ready, ep)
		}
	}
	var uses []EndpointUse
	for _, ep := range all {
		if familyOf(ep.Addr) != f {
			continue
		}
		u := EndpointUse{Backend: ep.backend, Endpoint: ep.Endpoint}
		u.Cluster, u.Local = slices.Contains(chosen.cluster, ep.backend), slices.Contains(chosen.local, ep.backend)
		if !u.Cluster {
			u.WhyCluster = whyNot(&ep, len(ready) > 0, whyFar(ready, loc))
		}
		if !u.Local {
			readyHere := slices.ContainsFunc(ready, func(r portEndpoint) bool { return isHere(&r, loc) })
			far := ""
			if !isHere(&ep, loc) {
				far = fmt.Sprintf("it is on %s, and policy Local takes only endpoints of this node", nodeText(ep.Node))
			}
			u.WhyLocal = whyNot(&ep, readyHere, far)
		}
		uses = append(uses, u)
	}
	return uses
}

func isHere(ep *portEndpoint, loc *Locality) bool { return ep.Node != "" && ep.Node == loc.Node }

func nodeText(node string) string {
	if node == "" {
		return "no node"
	}
	return "node " + node
}

// whyNot says why an endpoint is not chosen: for its state, or because it is far.
func whyNot(ep *portEndpoint, othersReady bool, far string) string {
	switch terminating, serving := ep.State.Has(model.Terminating), ep.State.Has(model.Serving); {
	case ep.State.Has(model.Ready):
		return far
	case !terminating:
		return "it is not ready"
	case !serving:
		return "it is terminating and serves no more"
	case far != "" && !othersReady:
		return far
	default:
		return "it is terminating, and others are ready"
	}
}

// whyFar says by which hints ready endpoints are left out on this node.
func whyFar(ready []portEndpoint, loc *Locality) string {
	if _, ok := hinted(ready, loc.Node, func(h *model.Hints) []string { return h.Nodes }); ok {
		return "its hints name other nodes than " + loc.Node
	}
	if _, ok := hinted(ready, loc.Zone, func(h *model.Hints) []string { return h.Zones }); ok {
		return "its hints name other zones than this node's, " + loc.Zone
	}
	return ""
}

// StateText is an endpoint's condition in words.
func StateText(s model.EndpointState) string {
	var words []string
	if s.Has(model.Ready) {
		words = append(words, "ready")
	} else {
		words = append(words, "not ready")
		if s.Has(model.Serving) {
			words = append(words, "serving")
		}
	}
	if s.Has(model.Terminating) {
		words = append(words, "terminating")
	}
	return strings.Join(words, ", ")
}
