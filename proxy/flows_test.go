package proxy_test

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// TestFlows: a UDP client that keeps its port is not stuck to a backend that
// left, nor to having had none.
func TestFlows(t *testing.T) {
	lab := newLab(t)
	f := newFeed(firstUpdate(webService(), webSlice(lab, "a1")))
	start(t, lab.Host("node-a"), nodeConfig(), f)
	for i, to := range []string{"10.96.0.10:80", "[fd00:10:96::10]:80", "192.0.2.10:30081", "[2001:db8:113::20]:80"} {
		dst := netip.MustParseAddrPort(to)
		family := testnet.IPv6
		if dst.Addr().Is4() {
			family = testnet.IPv4
		}
		addr, _ := lab.Host("client").Addr(family)
		opts := testnet.ProbeOptions{Source: netip.AddrPortFrom(addr, uint16(40000+i))}
		for _, pods := range [][]string{{"a1"}, {"b1"}, {"a2", "b2"}, {}, {"b1"}, {"a1"}} {
			f.apply(sliceUpdate(webSlice(lab, pods...)))
			eventually(t, func() string {
				o := lab.Host("client").ProbeWith(model.UDP, dst, opts)
				for _, pod := range pods {
					if o.Server == pod {
						return ""
					}
				}
				if len(pods) == 0 && o.Kind == testnet.Refused {
					return ""
				}
				return to + ": " + o.String()
			})
		}
	}
}
