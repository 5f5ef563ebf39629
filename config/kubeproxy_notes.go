package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// counterparts say where kube-proxy's other fields went. Values that change nothing
// need no note.
var counterparts = map[string]struct {
	idle string // values that change nothing, besides those of isIdle
	note string
}{
	"bindAddress":         {"0.0.0.0 ::", "is not used: node addresses come from the Node"},
	"bindAddressHardFail": {"", "use the flag --bind-address-hard-fail"},
	"healthzBindAddress":  {"0.0.0.0:10256", "use the flag --healthz-bind-address"},
	"metricsBindAddress":  {"127.0.0.1:10249", "use the flag --metrics-bind-address"},
	"enableProfiling":     {"", "use the flag --profiling"},
	"hostnameOverride":    {"", "use the flag --node-name"},

	"clientConnection.kubeconfig":         {"/var/lib/kube-proxy/kubeconfig.conf", "use the flag --kubeconfig"},
	"clientConnection.acceptContentTypes": {"", "is not used: the agent chooses"},
	"clientConnection.contentType":        {"application/vnd.kubernetes.protobuf", "is not used: the agent chooses"},
	"clientConnection.qps":                {"5", "is not used: the agent watches, and makes few requests"},
	"clientConnection.burst":              {"10", "is not used: the agent watches, and makes few requests"},

	"logging.format":         {"text", "use the flag --log-format"},
	"logging.flushFrequency": {"5000000000 5s", "is not used: lines are written at once"},

	"mode":                        {"nftables iptables ipvs", "is not used: there is one way, nftables"},
	"iptables.masqueradeBit":      {"14", "is that of another mode"},
	"iptables.masqueradeAll":      {"", "is that of another mode"},
	"nftables.masqueradeBit":      {"14", "is that of another mode"},
	"nftables.masqueradeAll":      {"", "is that of another mode"},
	"iptables.localhostNodePorts": {"", "is not possible: node ports are never open on 127.0.0.1, as in kube-proxy's mode nftables"},
	"iptables.syncPeriod":         {"30s", "is not needed: changes of others are repaired when they happen, see repair"},
	"iptables.minSyncPeriod":      {"1s", "is not needed: a change costs what changed; coalesce collects changes for 5ms"},
	"nftables.syncPeriod":         {"30s", "is not needed: changes of others are repaired when they happen, see repair"},
	"nftables.minSyncPeriod":      {"1s", "is not needed: a change costs what changed; coalesce collects changes for 5ms"},

	"ipvs.syncPeriod":    {"30s", "is not needed: changes of others are repaired when they happen, see repair"},
	"ipvs.minSyncPeriod": {"1s", "is not needed: a change costs what changed; coalesce collects changes for 5ms"},
	"ipvs.scheduler":     {"rr", "is not possible: each connection goes to a random endpoint"},
	"ipvs.excludeCIDRs":  {"", "is not needed: IPVS is not used, and what others have there stays"},
	"ipvs.strictARP":     {"", "is not needed: addresses of Services are on no device; set the sysctls arp_ignore and arp_announce if another program wants them"},
	"ipvs.tcpTimeout":    {"", "is conntrack's: see conntrack.tcpEstablishedTimeout"},
	"ipvs.tcpFinTimeout": {"", "is conntrack's, and not set"},
	"ipvs.udpTimeout":    {"", "is conntrack's: see conntrack.udpTimeout"},

	"oomScoreAdj":                 {"-999", "is not set by the agent: the priority class of its pod decides"},
	"configSyncPeriod":            {"15m0s 15m", "is not needed: what is watched is compared after each reconnect"},
	"portRange":                   {"", "is not used, as in kube-proxy: node ports are not held open"},
	"showHiddenMetricsForVersion": {"", "is not used: no metrics are hidden"},
	"windowsRunAsService":         {"", "is for Windows"},
}

// rest tells of what nobody has taken.
func (k *kubeProxy) rest() {
	for _, path := range slices.Sorted(maps.Keys(k.fields)) {
		value := k.fields[path]
		head, _, _ := strings.Cut(path, ".")
		c, known := counterparts[path]
		switch {
		case isIdle(value) || known && slices.Contains(strings.Fields(c.idle), fmt.Sprint(value)):
		case known:
			k.note(path, "%s", c.note)
		case head == "winkernel":
			k.note(path, "is for Windows")
		case head == "featureGates":
			k.note(path, "is kube-proxy's own")
		case head == "logging":
			k.note(path, "is not used")
		default:
			k.note(path, "is no field of kube-proxy's that is known here, and was left out")
		}
	}
}

// isIdle reports whether a value is the one of a field that nobody set.
func isIdle(value any) bool {
	switch v := value.(type) {
	case bool:
		return !v
	case string:
		return v == "" || v == "0" || v == "0s"
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	}
	return false
}
