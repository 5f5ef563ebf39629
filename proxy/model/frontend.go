package model

import (
	"cmp"
	"fmt"
	"net/netip"
)

// FrontendKey is what clients connect to.
type FrontendKey struct {
	Addr     netip.Addr
	Port     uint16
	Protocol Protocol
}

// String is "10.96.0.1:443/TCP".
func (k FrontendKey) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(k.Addr, k.Port), k.Protocol)
}

// Compare orders keys by family and address, then port, then protocol.
func (k FrontendKey) Compare(o FrontendKey) int {
	return cmp.Or(k.Addr.Compare(o.Addr), cmp.Compare(k.Port, o.Port), cmp.Compare(k.Protocol, o.Protocol))
}

// FrontendKind says by which of a Service's addresses clients connect.
type FrontendKind uint8

// The kinds of frontends.
const (
	ClusterIP FrontendKind = iota + 1
	NodePort
	ExternalIP
	LoadBalancerIP
)

func (k FrontendKind) String() string {
	return [...]string{"", "ClusterIP", "NodePort", "ExternalIP", "LoadBalancer"}[k]
}

// IsExternal reports whether the frontend is meant for clients outside the
// cluster: the external traffic policy applies.
func (k FrontendKind) IsExternal() bool { return k != ClusterIP }
