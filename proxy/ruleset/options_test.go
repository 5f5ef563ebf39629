package ruleset

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// TestFamilyTurnedOff: a table from a time with both families loses the chains of
// the one that is gone, which lead to sets that go.
func TestFamilyTurnedOff(t *testing.T) {
	opts := DefaultOptions()
	old := NewTracker(opts)
	svc := &model.Service{
		Name:       model.ServiceName{Namespace: "a", Name: "web"},
		Ports:      []model.ServicePort{{Protocol: model.TCP, Port: 80}},
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:10:96::1")},
	}
	old.Set(svc.Name, Desire(svc, nil, &Locality{}, &opts))
	old.Commit(old.Plan(true))

	opts.IPv6 = false
	now := NewTracker(opts)
	now.Adopt(old.Table())
	now.Set(svc.Name, Desire(svc, nil, &Locality{}, &opts))
	now.Commit(now.Plan(true))
	table := now.Table()
	if table.Chain("lb4-1") == nil || table.Chain("lb6-1") != nil || table.Set("backends6") != nil {
		t.Errorf("%s", table.Text())
	}
}

// TestSourceRangesWithTheNode: where the node may connect, so may its load-balancer
// addresses, whatever accepts node ports.
func TestSourceRangesWithTheNode(t *testing.T) {
	opts := DefaultOptions()
	vip := netip.MustParseAddr("203.0.113.1")
	svc := &model.Service{
		Ports:           []model.ServicePort{{Protocol: model.TCP, Port: 80}},
		ClusterIPs:      []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		LoadBalancerIPs: []netip.Addr{vip},
		SourceRanges:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	for node, want := range map[string]int{"192.0.2.10": 2, "198.51.100.1": 1} {
		loc := Locality{NodeAddrs: []netip.Addr{netip.MustParseAddr(node)}}
		for _, f := range Desire(svc, nil, &loc, &opts).Frontends {
			if f.Kind == model.LoadBalancerIP && len(f.Sources) != want {
				t.Errorf("node %s: %v", node, f.Sources)
			}
		}
	}
}

// TestPrefixOfAllInterfaces: an empty prefix tells no pods, and the kernel takes
// no pattern for all names.
func TestPrefixOfAllInterfaces(t *testing.T) {
	opts := DefaultOptions()
	opts.DetectLocal, opts.PodInterface = DetectByInterface, "*"
	tracker := NewTracker(opts)
	tracker.Commit(tracker.Plan(true))
	if text := tracker.Table().Text(); strings.Contains(text, "iifname") {
		t.Errorf("%s", text)
	}
}
