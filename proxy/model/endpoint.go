package model

import (
	"net/netip"
	"time"
)

// SliceName names an EndpointSlice.
type SliceName struct{ Namespace, Name string }

func (n SliceName) String() string { return n.Namespace + "/" + n.Name }

// EndpointSlice is what a proxy needs of an EndpointSlice object with addresses.
type EndpointSlice struct {
	Name      SliceName
	Service   ServiceName // from the label kubernetes.io/service-name
	Ports     []EndpointPort
	Endpoints []Endpoint

	// Triggered is when the change happened that this slice was last written for
	// (annotation endpoints.kubernetes.io/last-change-trigger-time); unset if it
	// doesn't say. It serves measurements: slices that differ in nothing else are
	// the same.
	Triggered time.Time
}

// EndpointPort is one port of a slice: the number behind a service port's name.
type EndpointPort struct {
	Name     string
	Protocol Protocol
	Port     uint16
}

// Endpoint is one address that serves, or may serve, a Service.
type Endpoint struct {
	Addr  netip.Addr
	Node  string // name of its node, empty if it has none
	State EndpointState
	Hints *Hints // nil: none
}

// EndpointState holds the conditions of an endpoint as bits.
type EndpointState uint8

// The conditions, with the API's defaults already applied (KEP-1672).
const (
	Ready EndpointState = 1 << iota
	Serving
	Terminating
)

// Has reports whether all the given conditions hold.
func (s EndpointState) Has(c EndpointState) bool { return s&c == c }

// Hints say for whom an endpoint is meant (KEP-2433, KEP-3015).
type Hints struct {
	Zones []string
	Nodes []string
}

// Backend is where a connection goes: the address and port of an endpoint.
type Backend = netip.AddrPort
