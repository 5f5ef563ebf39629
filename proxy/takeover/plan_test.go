package takeover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxyChains(t *testing.T) {
	for _, c := range []struct {
		table, name string
		want        bool
	}{
		{"nat", "KUBE-SERVICES", true},
		{"nat", "KUBE-SVC-ERIFXISQEP7F7OF4", true},
		{"nat", "KUBE-XLB-ERIFXISQEP7F7OF4", true},
		{"filter", "KUBE-SVC-ERIFXISQEP7F7OF4", false}, // never in filter
		{"filter", "KUBE-EXTERNAL-SERVICES", true},
		{"nat", "KUBE-EXTERNAL-SERVICES", false}, // KUBE-EXT- has a dash
		{"mangle", "KUBE-PROXY-CANARY", true},
		{"raw", "KUBE-PROXY-CANARY", false},
		{"nat", "KUBE-LOAD-BALANCER", true},
		{"filter", "KUBE-FIREWALL", false}, // the kubelet's
		{"nat", "KUBE-MARK-DROP", false},
		{"mangle", "KUBE-IPTABLES-HINT", false},
		{"mangle", "KUBE-KUBELET-CANARY", false},
	} {
		if got := isProxyChain(c.table, c.name); got != c.want {
			t.Errorf("%s %s: %v", c.table, c.name, got)
		}
	}
}

func TestProxyIPSets(t *testing.T) {
	for name, want := range map[string]bool{
		"KUBE-CLUSTER-IP": true, "KUBE-6-CLUSTER-IP": true, "KUBE-6-LOAD-BALANCER-SOURCE-CID": true,
		"KUBE-6-NODE-PORT-LOCAL-SCTP-HAS": true, "KUBE-NODE-PORT-LOCAL-SCTP-HASH": true,
		"KUBE-CLUSTER": false, "CLUSTER-IP": false, "KUBE-6-": false, "": false,
	} {
		if got := isProxyIPSet(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestPlanKeeps: what a chain of someone else needs stays, with what that needs.
func TestPlanKeeps(t *testing.T) {
	to := func(names ...string) (jumps []jump) {
		for i, name := range names {
			jumps = append(jumps, jump{uint64(i + 1), name})
		}
		return jumps
	}
	nat := table{name: "nat", chains: []chain{
		{name: "PREROUTING", builtIn: true, jumps: to("KUBE-SERVICES", "MINE", "KUBE-MARK-MASQ")},
		{name: "MINE", jumps: to("KUBE-SVC-A")},
		{name: "KUBE-SERVICES", jumps: to("KUBE-SVC-A", "KUBE-SVC-B")},
		{name: "KUBE-SVC-A", jumps: to("KUBE-SEP-A")},
		{name: "KUBE-SVC-B", jumps: to("KUBE-SEP-B", "KUBE-SVC-B")},
		{name: "KUBE-SEP-A", jumps: to("KUBE-MARK-MASQ")},
		{name: "KUBE-SEP-B", jumps: to("KUBE-MARK-MASQ", "MINE")},
		{name: "KUBE-MARK-MASQ"},
	}}
	want := plan{
		jumps:  []builtInJump{{"PREROUTING", jump{1, "KUBE-SERVICES"}}},
		chains: []string{"KUBE-SEP-B", "KUBE-SERVICES", "KUBE-SVC-B"},
		kept:   map[string]string{"KUBE-MARK-MASQ": "PREROUTING", "KUBE-SVC-A": "MINE", "KUBE-SEP-A": "KUBE-SVC-A"},
	}
	// The order of chains decides only which of those who need a chain is named.
	got := nat.plan()
	if got.kept["KUBE-MARK-MASQ"] == "KUBE-SEP-A" {
		got.kept["KUBE-MARK-MASQ"] = "PREROUTING"
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(plan{}, builtInJump{}, jump{})); diff != "" {
		t.Errorf("wanted (-) and planned (+):\n%s", diff)
	}
}

// TestPlain: what the kernel lets a name have can't forge a line.
func TestPlain(t *testing.T) {
	for name, want := range map[string]string{
		"KUBE-SVC-A": "KUBE-SVC-A", "a b": `"a b"`, "x\nremoved table": `"x\nremoved table"`, "": `""`, "\x1b[2J": `"\x1b[2J"`,
	} {
		if got := plain(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
