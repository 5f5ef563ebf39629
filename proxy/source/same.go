package source

import (
	"maps"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// sameService reports whether a and b say the same.
func sameService(a, b *model.Service) bool {
	return a.Name == b.Name && a.UID == b.UID && a.Created.Equal(b.Created) &&
		a.InternalPolicy == b.InternalPolicy && a.ExternalPolicy == b.ExternalPolicy &&
		a.Affinity == b.Affinity && a.HealthCheckNodePort == b.HealthCheckNodePort &&
		slices.Equal(a.Ports, b.Ports) &&
		slices.Equal(a.ClusterIPs, b.ClusterIPs) &&
		slices.Equal(a.ExternalIPs, b.ExternalIPs) &&
		slices.Equal(a.LoadBalancerIPs, b.LoadBalancerIPs) &&
		slices.Equal(a.SourceRanges, b.SourceRanges)
}

// sameSlice reports whether a and b say the same, whenever they were triggered.
func sameSlice(a, b *model.EndpointSlice) bool {
	return a.Name == b.Name && a.Service == b.Service &&
		slices.Equal(a.Ports, b.Ports) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, sameEndpoint)
}

func sameEndpoint(a, b model.Endpoint) bool {
	return a.Addr == b.Addr && a.Node == b.Node && a.State == b.State && sameHints(a.Hints, b.Hints)
}

func sameHints(a, b *model.Hints) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && slices.Equal(a.Zones, b.Zones) && slices.Equal(a.Nodes, b.Nodes)
}

func sameNode(a, b *model.Node) bool {
	return a.Name == b.Name && a.Zone == b.Zone && a.Leaving == b.Leaving && a.UID == b.UID && maps.Equal(a.Labels, b.Labels) &&
		slices.Equal(a.InternalIPs, b.InternalIPs) && slices.Equal(a.PodCIDRs, b.PodCIDRs)
}
