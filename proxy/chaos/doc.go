// Package chaos holds the suite that keeps connections flowing while everything
// around the agent goes wrong, and checks that none is lost that could be served.
//
//	clients ─► ClusterIP, NodePort, VIP; IPv4, IPv6 ─► the node's table ─► backends, always up
//	                                                       ▲
//	adversary (seeded) ─► objects ─► agent ────────────────┤
//	        └─► kill, stop, netlink errors ──► agent       │
//	        └─► nft flush, delete, insert ─────────────────┘
//
// A round is a laboratory of network namespaces, an agent, a steady stream of new
// and of long-lived connections, and an adversary that takes one step after the
// other. Three rounds run: the program with a table that anyone may change, the
// program that owns its table and follows an API server, which goes away, and the
// loop of package proxy in the test's own process with errors injected between it
// and the kernel. The other two read manifests.
//
//	go test ./proxy/chaos -run Chaos -v
//	CHAOS_SECONDS=600 go test ./proxy/chaos -run Chaos -v -timeout 20m
//	CHAOS_SEED=42 CHAOS_STEPS=17 go test ./proxy/chaos -run Chaos/open -v
//
// CHAOS_SECONDS (30) is how long the adversaries work, over all rounds. The seed
// decides all their steps; a failure prints it with the number of steps, and
// CHAOS_STEPS makes each round take exactly so many. CHAOS_AGENT names a program
// to test instead of building one. CHAOS_REPORT names the document whose table of
// faults is to be written.
//
// While another process has damaged the table, connections may fail: from the
// start of its command until the table serves again, as read from the kernel.
// Those failures are counted by themselves. Everything else is a failure of the
// test. The package has no code of its own but tests.
package chaos
