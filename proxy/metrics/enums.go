package metrics

import "net/netip"

// IPFamily is an address family, the label ip_family.
type IPFamily uint8

// The families.
const (
	IPv4 IPFamily = iota
	IPv6
	families = iota
)

func (f IPFamily) String() string { return [families]string{"IPv4", "IPv6"}[f] }

// FamilyOf is the family of an address. An IPv4-mapped IPv6 address is IPv6.
func FamilyOf(a netip.Addr) IPFamily {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Phase is a part of a sync, the label phase.
type Phase uint8

// The phases of a sync.
const (
	Read    Phase = iota // read the table from the kernel
	Compute              // compute what frontends want and plan the difference
	Commit               // send transactions and wait for the kernel's answer
	phases  = iota
)

func (p Phase) String() string { return [phases]string{"read", "compute", "commit"}[p] }

// Result is what became of a transaction, the label result.
type Result uint8

// The results of a transaction.
const (
	Committed Result = iota // the kernel applied it
	Rejected                // the kernel refused it as a whole
	Uncertain               // it may have been applied, in whole or in part
	results   = iota
)

func (r Result) String() string { return [results]string{"committed", "rejected", "uncertain"}[r] }

// Traffic is what a traffic policy is for, the label traffic_policy.
type Traffic uint8

// The kinds of traffic.
const (
	Internal Traffic = iota // spec.internalTrafficPolicy
	External                // spec.externalTrafficPolicy
	traffics = iota
)

func (t Traffic) String() string { return [traffics]string{"internal", "external"}[t] }
