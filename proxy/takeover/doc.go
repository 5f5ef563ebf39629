// Package takeover removes what kube-proxy leaves behind in a network namespace,
// without running any program: netlink for nf_tables (kube-proxy's nftables mode,
// and its iptables mode through iptables-nft), for IPVS, IP sets, the device
// kube-ipvs0 and named packet counters; socket options for iptables-legacy.
//
// # What is kube-proxy's
//
// As kube-proxy 1.37 removes it with --cleanup, and what older versions left:
//
//   - the nf_tables tables "ip kube-proxy" and "ip6 kube-proxy";
//   - in the iptables tables nat, filter and mangle its chains (names.go has them by
//     table), and the rules of built-in chains that jump to them;
//   - all IPVS services, if the dummy device kube-ipvs0 says that it was
//     kube-proxy who made them, the device, and its IP sets;
//   - the packet counters that its iptables rules count in.
//
// The kubelet's chains are not: KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY
// and KUBE-IPTABLES-HINT, although kube-proxy writes the first, too. A chain of
// kube-proxy that a chain of someone else jumps to is kept, with the chains that
// it needs, and said to be kept: some CNI configurations send packets to
// KUBE-MARK-MASQ, whose mark kube-vmap goes on to masquerade.
//
// # What happens to traffic
//
// A chain goes after the rules that jump to it. Established connections keep
// their translation, which conntrack holds, as long as any NAT chain is left in
// the namespace: kube-vmap's are. So no connection is lost when kube-vmap's table
// is complete before, except those that IPVS balanced: IPVS, not conntrack, knows
// their backends.
//
// Everything works in the network namespace of the calling thread.
package takeover
