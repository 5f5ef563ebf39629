package takeover

import (
	"slices"
	"strings"
)

// proxyTable is the table of kube-proxy's nftables mode, in the families ip and ip6.
const proxyTable = "kube-proxy"

// Chains of kube-proxy that mean something here.
const (
	markMasquerade = "KUBE-MARK-MASQ"
	forward        = "KUBE-FORWARD"
)

// proxyChains are kube-proxy's chains with fixed names, by iptables table: those of
// the iptables mode, then those that only the ipvs mode has.
var proxyChains = map[string][]string{
	"nat": {
		"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", markMasquerade, "KUBE-PROXY-CANARY",
		"KUBE-NODE-PORT", "KUBE-LOAD-BALANCER",
	},
	"filter": {
		"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", forward, "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY",
		"KUBE-NODE-PORT", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER",
	},
	"mangle": {"KUBE-PROXY-CANARY"},
}

// serviceChains begin the names of chains of one service port or endpoint, in the
// table nat. KUBE-XLB- was KUBE-SVL- and KUBE-EXT- until 1.24.
var serviceChains = []string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"}

// isProxyChain reports whether a chain of an iptables table is kube-proxy's.
func isProxyChain(table, name string) bool {
	if table == "nat" && slices.ContainsFunc(serviceChains, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return true
	}
	return slices.Contains(proxyChains[table], name)
}

// isProxyIPSet reports whether an IP set is one of kube-proxy's ipvs mode. Those of
// IPv6 have KUBE-6- for KUBE-, and are cut to the 31 bytes that a name may have.
func isProxyIPSet(name string) bool {
	if rest, ok := strings.CutPrefix(name, "KUBE-6-"); ok {
		name = "KUBE-" + rest
	}
	return slices.ContainsFunc(proxyIPSets, func(s string) bool {
		return name == s || len(s) > 29 && name == s[:29]
	})
}

var proxyIPSets = []string{
	"KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL",
	"KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL", "KUBE-LOAD-BALANCER-FW",
	"KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR",
	"KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-LOCAL-TCP", "KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-UDP",
	"KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
}

// proxyCounters are the named packet counters (nfacct) of kube-proxy's iptables mode.
var proxyCounters = []string{"ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"}

// proxyDevice is the dummy device that has the frontends' addresses in ipvs mode.
const proxyDevice = "kube-ipvs0"
