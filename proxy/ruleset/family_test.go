package ruleset

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// TestFamiliesOfAService: a node port, as every other frontend, is open in the
// families of the Service's cluster IPs only.
func TestFamiliesOfAService(t *testing.T) {
	opts := DefaultOptions()
	loc := Locality{NodePortAddrs: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8:2::10")}}
	for _, clusterIP := range []string{"10.96.0.10", "fd00:10:96::10"} {
		ip := netip.MustParseAddr(clusterIP)
		svc := &model.Service{
			ClusterIPs:      []netip.Addr{ip},
			ExternalIPs:     []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:113::10")},
			LoadBalancerIPs: []netip.Addr{netip.MustParseAddr("203.0.113.20"), netip.MustParseAddr("2001:db8:113::20")},
			Ports:           []model.ServicePort{{Protocol: model.TCP, Port: 80, NodePort: 30080}},
		}
		frontends := Desire(svc, nil, &loc, &opts).Frontends
		if len(frontends) != 4 {
			t.Errorf("%s: %d frontends, want one of each kind", clusterIP, len(frontends))
		}
		for _, f := range frontends {
			if f.Key.Addr.Is4() != ip.Is4() {
				t.Errorf("%s: %s %s is of the other family", clusterIP, f.Kind, f.Key)
			}
		}
	}
}
