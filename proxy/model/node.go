package model

import "net/netip"

// Node is what a proxy needs of its own Node object.
type Node struct {
	Name        string
	UID         string
	Labels      map[string]string // not to be changed
	Zone        string            // label topology.kubernetes.io/zone
	InternalIPs []netip.Addr      // status.addresses of type InternalIP, in order
	PodCIDRs    []netip.Prefix    // spec.podCIDRs

	// Leaving is set while the node is being removed: it has a deletionTimestamp
	// or the cluster autoscaler's taint ToBeDeletedByClusterAutoscaler. It makes
	// /healthz fail and changes nothing else (KEP-3836).
	Leaving bool
}
