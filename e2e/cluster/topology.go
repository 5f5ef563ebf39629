package cluster

import (
	"net/netip"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// controlPlaneHost is the machine of the API server in the laboratory.
const controlPlaneHost = "control-plane"

// PodCIDRs are the prefixes of all pods of the cluster.
func PodCIDRs() []netip.Prefix {
	return testnet.Prefixes("10.244.0.0/16", "fd00:10:244::/48")
}

// topology is the picture in the package's documentation.
func topology() testnet.Topology {
	t := testnet.TwoNodes()
	for i := range t.Nodes {
		t.Nodes[i].Pods = nil
	}
	t.Clients = append(t.Clients, testnet.Client{
		Name:  controlPlaneHost,
		Addrs: testnet.Prefixes("192.0.2.5/24", "2001:db8:2::5/64"),
	})
	return t
}

// zones are the values of the label topology.kubernetes.io/zone.
var zones = map[string]string{"node-a": "zone-a", "node-b": "zone-b"}
