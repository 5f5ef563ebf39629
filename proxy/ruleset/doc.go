// Package ruleset decides what stands in the nftables table: a constant set of
// chains and rules, and elements of a few named maps that hold all services.
// Everything here is a function of values; nothing touches the kernel.
//
//	services, slices, node ──► Desired ──► Claims ──► Tracker ──► nft.Transaction
//	                          (frontends)  (whose?)   (slots, diff)
//
// The table of one family (IPv4; the same again for IPv6 with suffix 6):
//
//	services4        frontend         : goto [external-[local-]]lb4-M | goto [external-[local-]]affinity4-M
//	backends4        frontend . slot  : backend
//	local-services4  frontend         : goto local-lb4-M | goto local-affinity4-M
//	local-backends4  frontend . slot  : backend on this node
//	blocked4         frontend         : drop | goto reject-new
//	learn4           frontend         : goto learn-T
//	affinity4        client . frontend: backend            (learned by the kernel)
//	firewalled4, allowed-sources4     frontends with source ranges, and the ranges
//	cluster-ips4, affinity-ips4, hairpin4, service-cidrs4, pod-cidrs4     addresses
//
// A frontend is (address, protocol, port). Its backends sit in numbered slots,
// its class M is the power of two that holds them, and its verdict leads to the
// chain lb4-M, which draws a random slot until it finds a filled one (see Assign).
// So an endpoint that comes or goes is one element of a data map; no rule, chain
// or verdict changes with it, which the kernel would have to validate the whole
// table for.
//
// What is asked of a first packet decides what it costs, so each question is asked
// of as few packets as possible: that a frontend is external stands in its verdict
// (external-lb4-M marks for masquerade and goes on to lb4-M; external-local-lb4-M
// applies policy Local first), the hooks of source ranges and of session affinity are
// made once some Service needs them, connections to addresses without affinity are not
// looked for among its frontends (affinity-ips4), and what was translated is not asked
// again.
package ruleset
