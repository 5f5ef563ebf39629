package explain

import (
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Query is a new connection.
type Query struct {
	To   model.FrontendKey
	From netip.Addr // invalid: from anywhere
}

// Kernel is what the node's kernel has about a query.
type Kernel struct {
	Table  string
	Exists bool
	Hooked bool // packets meet the table

	Frontend  *ruleset.FrontendStatus // nil: none
	ClusterIP bool                    // the address is a cluster IP
	// ServiceCIDR is the one that the address is in; the zero Prefix: none.
	ServiceCIDR netip.Prefix
	HostAddrs   []netip.Addr // of this host

	Pods        PodDetection
	PodCIDRs    []netip.Prefix
	Masquerades Masquerading

	Binding model.Backend // of the source, by session affinity
}

// PodDetection is how the table tells pods from others.
type PodDetection uint8

// The ways to tell pods.
const (
	PodsUntold PodDetection = iota
	PodsByAddress
	PodsByInterface
)

// Masquerading is which connections to cluster IPs are masqueraded.
type Masquerading uint8

// The connections that are masqueraded.
const (
	MasqueradesNone Masquerading = iota
	MasqueradesOutside
	MasqueradesAll
)

// Objects are the API's objects about a query, as the node sees them.
type Objects struct {
	Node   string  `json:"node"`
	Zone   string  `json:"zone,omitempty"`
	Claims []Claim `json:"claims"` // service ports that want the frontend; the first has it
	// Ports are the service ports of other ports and protocols at the address.
	Ports []string `json:"ports,omitempty"`
	// Unserved says of a Service's address that this node does not serve why not.
	Unserved string `json:"unserved,omitempty"`
}

// Claim is what a service port wants of a frontend.
type Claim struct {
	ServicePort string          `json:"servicePort"`
	Kind        string          `json:"kind"`
	Quarantine  string          `json:"quarantine,omitempty"` // why the kernel refuses the Service
	Backends    []model.Backend `json:"backends"`
	Local       []model.Backend `json:"local,omitempty"`
	Blocked     string          `json:"blocked,omitempty"`
	Endpoints   []Endpoint      `json:"endpoints"`
}

// Endpoint is an endpoint of a service port.
type Endpoint struct {
	Address    model.Backend `json:"address"`
	Node       string        `json:"node,omitempty"`
	State      string        `json:"state"`
	Ready      bool          `json:"ready"`
	Cluster    bool          `json:"cluster"` // it gets connections where the policy is Cluster
	WhyCluster string        `json:"whyNotCluster,omitempty"`
	Local      bool          `json:"local"` // it gets connections where the policy is Local
	WhyLocal   string        `json:"whyNotLocal,omitempty"`
}

// client is from where a connection comes, as far as the table tells.
type client uint8

const (
	pod client = iota
	node
	outside
)

func (c client) String() string {
	return [...]string{"pods", "this node", "others"}[c]
}

// clients are those that the query may come from.
func (k *Kernel) clients(q *Query) []client {
	switch {
	case !q.From.IsValid():
		if k.Pods == PodsUntold {
			return []client{node, outside}
		}
		return []client{pod, node, outside}
	case q.From.IsLoopback() || slices.Contains(k.HostAddrs, q.From):
		return []client{node}
	case k.Pods == PodsByInterface:
		return []client{pod, outside}
	case k.Pods == PodsByAddress && slices.ContainsFunc(k.PodCIDRs, func(p netip.Prefix) bool { return p.Contains(q.From) }):
		return []client{pod}
	}
	return []client{outside}
}
