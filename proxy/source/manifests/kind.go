package manifests

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// kind is the apiVersion and kind that an object says it has.
type kind struct{ apiVersion, name string }

// The kinds that a proxy reads.
var (
	kindService       = kind{"v1", source.KindService}
	kindEndpointSlice = kind{"discovery.k8s.io/v1", source.KindEndpointSlice}
	kindNode          = kind{"v1", source.KindNode}
	kindServiceCIDR   = kind{"networking.k8s.io/v1", source.KindServiceCIDR}
)

func (k kind) String() string { return k.apiVersion + " " + k.name }

func (k kind) isKnown() bool {
	return k == kindService || k == kindEndpointSlice || k == kindNode || k == kindServiceCIDR
}

// isOtherVersion reports whether k is a kind that a proxy reads, in a version
// that it does not.
func (k kind) isOtherVersion() bool {
	group, _, grouped := strings.Cut(k.apiVersion, "/")
	return grouped && (group == "discovery.k8s.io" && k.name == kindEndpointSlice.name ||
		group == "networking.k8s.io" && k.name == kindServiceCIDR.name)
}

// isList reports whether k holds other objects: the kind List, or the list of a
// kind that a proxy reads.
func (k kind) isList() bool {
	return k == kind{"v1", "List"} || strings.HasSuffix(k.name, "List") && k.ofItems().isKnown()
}

// ofItems is the kind of a list's items, which they need not repeat.
func (k kind) ofItems() kind {
	if k.name == "List" {
		return kind{}
	}
	return kind{k.apiVersion, strings.TrimSuffix(k.name, "List")}
}

// or is k with what it does not say taken from other.
func (k kind) or(other kind) kind {
	if k.apiVersion == "" {
		k.apiVersion = other.apiVersion
	}
	if k.name == "" {
		k.name = other.name
	}
	return k
}

// kindOf is what a mapping says of its kind.
func kindOf(n *yaml.Node) kind {
	var k kind
	if v := member(n, "apiVersion"); v != nil {
		k.apiVersion = v.Value
	}
	if v := member(n, "kind"); v != nil {
		k.name = v.Value
	}
	return k
}
