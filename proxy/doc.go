// Package proxy is the loop that keeps the nftables table equal to what the
// cluster's Services ask for.
//
// One goroutine owns the state. Sources apply updates to the inbox, from any
// goroutine, which merges them and pokes the loop. The loop takes what is there,
// marks the Services that it touches, and for those computes what they want
// (package ruleset), plans the difference to what the kernel has and commits it
// as one transaction:
//
//	sources ─► inbox ─► cluster (what there is) ─► ruleset.Tracker ─► Dataplane
//	                       └ dirty services           plan, commit      kernel
//
// The cost of a change is the cost of what changed, at any size of the cluster.
// After a failure the loop reads the table and goes on from what it says.
package proxy
