package proxy

import (
	"net/netip"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Config is what tunes a running proxy.
type Config struct {
	// NodeName is this node's name; endpoints with it are local.
	NodeName string

	Table      string // name of the table
	IPv4, IPv6 bool   // the families that the host has

	DetectLocal    DetectLocalMode
	ClusterCIDRs   []netip.Prefix // of ClusterCIDR
	PodInterface   string         // of BridgeInterface (its name), InterfaceNamePrefix (the prefix)
	MasqueradeAll  bool
	MasqueradeMark uint32 // one bit of the packet mark

	NodePortAddresses NodePortAddresses
	ExternalIPs       ruleset.ExternalIPs // which of spec.externalIPs are served; the zero value: all

	AffinitySize uint32           // most session-affinity bindings per family
	Counters     ruleset.Counters // what the table counts; a change replaces the table, in one transaction

	// Own makes the table this process's own: others can't change it, and it stays
	// when the process ends (kernel 6.9).
	Own bool

	// Repair says what is done about changes of the table by others, "" for
	// RepairChanges, and RepairDelay how long one of many stays at most.
	Repair      RepairMode
	RepairDelay time.Duration

	// Coalesce is how long changes are collected after a transaction; the first
	// change after a pause of that length is applied at once. 0 to 1 s.
	Coalesce time.Duration
}

// DetectLocalMode says how this node's pods are told from other sources of
// traffic; the names are kube-proxy's.
type DetectLocalMode string

// The modes. DetectNone (and ClusterCIDR without prefixes) can't tell pods.
const (
	DetectNone                DetectLocalMode = ""
	DetectClusterCIDR         DetectLocalMode = "ClusterCIDR"
	DetectNodeCIDR            DetectLocalMode = "NodeCIDR"
	DetectBridgeInterface     DetectLocalMode = "BridgeInterface"
	DetectInterfaceNamePrefix DetectLocalMode = "InterfaceNamePrefix"
)

// NodePortAddresses selects the addresses of this node that accept node ports.
type NodePortAddresses struct {
	Primary bool           // the node's InternalIP of each family
	CIDRs   []netip.Prefix // the host's addresses in these prefixes
}

// DefaultCoalesce is the coalescing window of DefaultConfig.
const DefaultCoalesce = 5 * time.Millisecond

// DefaultConfig is the configuration of a node with both families.
func DefaultConfig() Config {
	o := ruleset.DefaultOptions()
	return Config{
		Table: o.Table, IPv4: true, IPv6: true,
		DetectLocal: DetectClusterCIDR, MasqueradeMark: o.MasqueradeMark,
		NodePortAddresses: NodePortAddresses{Primary: true},
		AffinitySize:      o.AffinitySize,
		Counters:          o.Counters,
		Repair:            RepairChanges,
		RepairDelay:       DefaultRepairDelay,
		Coalesce:          DefaultCoalesce,
	}
}

// options are the ruleset's options on this node.
func (c *Config) options(w *cluster) ruleset.Options {
	o := ruleset.Options{
		Table: c.Table, IPv4: c.IPv4, IPv6: c.IPv6,
		MasqueradeMark: c.MasqueradeMark, MasqueradeAll: c.MasqueradeAll,
		ServiceCIDRs: w.serviceCIDRs, AffinitySize: c.AffinitySize, Counters: c.Counters,
		Owned: c.Own, Persist: c.Own,
	}
	switch c.DetectLocal {
	case DetectClusterCIDR:
		o.DetectLocal, o.PodCIDRs = ruleset.DetectByCIDR, c.ClusterCIDRs
	case DetectNodeCIDR:
		o.DetectLocal, o.PodCIDRs = ruleset.DetectByCIDR, w.node.PodCIDRs
	case DetectBridgeInterface:
		o.DetectLocal, o.PodInterface = ruleset.DetectByInterface, c.PodInterface
	case DetectInterfaceNamePrefix:
		o.DetectLocal, o.PodInterface = ruleset.DetectByInterface, c.PodInterface+"*"
	}
	return o
}

// locality is where the proxy runs, for the ruleset.
func (c *Config) locality(w *cluster) ruleset.Locality {
	return ruleset.Locality{
		Node: c.NodeName, Zone: w.node.Zone,
		NodeAddrs: w.node.InternalIPs, NodePortAddrs: c.nodePortAddrs(w),
		ExternalIPs: c.ExternalIPs,
	}
}

// nodePortAddrs are the addresses that accept node ports. A family without one is
// closed.
func (c *Config) nodePortAddrs(w *cluster) []netip.Addr {
	var addrs []netip.Addr
	if c.NodePortAddresses.Primary {
		addrs = append(primary(w.node.InternalIPs, true), primary(w.node.InternalIPs, false)...)
	}
	for _, a := range w.hostAddrs {
		for _, p := range c.NodePortAddresses.CIDRs {
			if p.Contains(a) && !a.IsLoopback() {
				addrs = appendNew(addrs, a)
			}
		}
	}
	return addrs
}

// primary is the first address of a family.
func primary(addrs []netip.Addr, is4 bool) []netip.Addr {
	for _, a := range addrs {
		if a.Is4() == is4 && !a.IsLoopback() {
			return []netip.Addr{a}
		}
	}
	return nil
}

func appendNew(addrs []netip.Addr, a netip.Addr) []netip.Addr {
	for _, b := range addrs {
		if a == b {
			return addrs
		}
	}
	return append(addrs, a)
}
