package ruleset

import (
	"net/netip"
	"reflect"
	"slices"
)

// Options are what the fixed part of the table depends on.
type Options struct {
	Table      string // name of the table
	IPv4, IPv6 bool   // the families that the host has

	MasqueradeMark uint32 // the bit of the packet mark that means "masquerade"
	FormerMark     uint32 // one that still means it, while it is given up; 0: none
	MasqueradeAll  bool   // masquerade all traffic to cluster IPs

	DetectLocal  DetectLocal
	PodCIDRs     []netip.Prefix // of DetectByCIDR
	PodInterface string         // of DetectByInterface: a name, or a prefix with "*" at its end

	ServiceCIDRs []netip.Prefix // new connections to their unallocated addresses are dropped

	AffinitySize uint32 // most session-affinity bindings per family
	Counters     Counters
	Owned        bool // table flag owner: others can't change the table (kernel 5.12)
	Persist      bool // table flag persist: an owned table outlives its owner (kernel 6.9)
}

// DetectLocal says how packets from this node's pods are told from others.
type DetectLocal uint8

// The ways to tell pods. NodeCIDR and ClusterCIDR are both DetectByCIDR, with
// the node's or the cluster's prefixes; BridgeInterface and InterfaceNamePrefix
// are both DetectByInterface. Without a way, pods are not told: nothing is
// masqueraded for being outside, and pods have no short circuit.
const (
	DetectNone DetectLocal = iota
	DetectByCIDR
	DetectByInterface
)

// Defaults of Options.
const (
	DefaultTable          = "kube-vmap"
	DefaultMasqueradeMark = 1 << 14
	DefaultAffinitySize   = 1 << 20
	DefaultCounters       = CountServices
)

// DefaultOptions are the options of both families without a way to tell pods.
func DefaultOptions() Options {
	return Options{
		Table: DefaultTable, IPv4: true, IPv6: true,
		MasqueradeMark: DefaultMasqueradeMark, AffinitySize: DefaultAffinitySize, Counters: DefaultCounters,
	}
}

func (o *Options) families() []*family {
	var fs []*family
	if o.IPv4 {
		fs = append(fs, ipv4)
	}
	if o.IPv6 {
		fs = append(fs, ipv6)
	}
	return fs
}

// lacks reports whether the host does not have the family of an address.
func (o *Options) lacks(a netip.Addr) bool {
	return !a.IsValid() || a.Is4() && !o.IPv4 || !a.Is4() && !o.IPv6
}

// Equal reports whether two options make the same table.
func (o *Options) Equal(p *Options) bool {
	a, b := *o, *p
	a.PodCIDRs, a.ServiceCIDRs, b.PodCIDRs, b.ServiceCIDRs = nil, nil, nil, nil
	return slices.Equal(o.PodCIDRs, p.PodCIDRs) && slices.Equal(o.ServiceCIDRs, p.ServiceCIDRs) &&
		reflect.DeepEqual(a, b)
}
