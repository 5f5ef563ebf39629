package model

import "net/netip"

// Update is a set of changes that belong together: the proxy applies them in
// one piece. A nil Service or EndpointSlice in a map is a deletion; a nil Node,
// ServiceCIDRs or HostAddrs is no change.
type Update struct {
	Services     map[ServiceName]*Service
	Slices       map[SliceName]*EndpointSlice
	Node         *Node
	ServiceCIDRs *[]netip.Prefix
	HostAddrs    *[]netip.Addr           // the addresses of this host's interfaces, without loopback and link-local ones
	Problems     map[ObjectRef][]Problem // per object, all it has now; empty: none left
}

// ObjectRef names an API object that something is to be said about.
type ObjectRef struct {
	Kind      string // "Service", "EndpointSlice", "Node", "ServiceCIDR"
	Namespace string
	Name      string
	UID       string // set in events only, where it is known
}

func (r ObjectRef) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Problem is one thing about an object that can't be used. What it names is
// quarantined; the rest of the object works.
type Problem struct {
	Field   string // the field's path: "spec.ports[1].port"
	Message string // what is wrong and what to do, a clause without a capital
}

func (p Problem) String() string { return p.Field + ": " + p.Message }
