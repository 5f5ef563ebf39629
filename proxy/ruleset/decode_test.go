package ruleset

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
)

// TestRulesDecode: each rule that the table may have reads the same when only its
// bytecode is left.
func TestRulesDecode(t *testing.T) {
	shape := newShape()
	for _, ipv6 := range []bool{false, true} {
		for _, class := range []Class{1, 8, MaxClass} {
			shape.addBalancer(balancer{class: class, ipv6: ipv6, affinity: true})
			shape.addBalancer(balancer{class: class, ipv6: ipv6, local: true, affinity: true})
		}
	}
	shape.addLearn(10800)
	pods := DefaultOptions()
	pods.DetectLocal, pods.PodCIDRs = DetectByCIDR, []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/56")}
	bridge, prefix, all := DefaultOptions(), DefaultOptions(), DefaultOptions()
	bridge.DetectLocal, bridge.PodInterface = DetectByInterface, "cni0"
	prefix.DetectLocal, prefix.PodInterface = DetectByInterface, "veth*"
	all.MasqueradeAll, all.MasqueradeMark = true, 1
	n := 0
	for _, opts := range []Options{pods, bridge, prefix, all} {
		table, _ := skeleton(&opts, shape)
		for _, c := range table.Chains {
			for _, r := range c.Rules {
				n++
				if read := (nft.Rule{ReadBytecode: r.Bytecode()}); read.String() != r.String() {
					t.Errorf("%s:\n got %s\nwant %s", c.Name, read, r)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d rules", n)
	}
}
