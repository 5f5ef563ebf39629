package proxy_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
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

// TestFlowsBegunInDamage: a connection whose first packet passed a table without
// rules is served by its second one, since nothing remembers the first.
func TestFlowsBegunInDamage(t *testing.T) {
	lab := newLab(t)
	node, client, sink := lab.Host("node-a"), lab.Host("client"), lab.Host("a2")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	dst := netip.MustParseAddrPort("203.0.113.20:80")
	// Without the rules, packets go to a pod that says nothing to them.
	through, _ := sink.Addr(testnet.IPv4)
	if err := node.Route(netip.PrefixFrom(dst.Addr(), 32), through); err != nil {
		t.Fatal(err)
	}
	if err := sink.LoadNFT("table ip sink { chain pre { type filter hook prerouting priority 0; ip daddr 203.0.113.20 drop; }; }"); err != nil {
		t.Fatal(err)
	}
	tracked := func() bool {
		out, err := node.Run("conntrack", "-L", "-p", "tcp", "--orig-dst", dst.Addr().String(), "--state", "SYN_SENT")
		return err == nil && out != ""
	}

	held, damaged := make(chan struct{}), make(chan struct{}, 100)
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	w.inject(func(_ *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
		damaged <- struct{}{}
		<-held
		return commit()
	})
	if _, err := node.Run("nft", "flush", "chain", "inet", "kube-vmap", "services"); err != nil {
		t.Fatal(err)
	}
	<-damaged
	outcome := make(chan testnet.Outcome, 1)
	go func() { outcome <- client.ProbeWith(model.TCP, dst, testnet.ProbeOptions{Timeout: 20 * time.Second}) }()
	eventually(t, func() string {
		if tracked() {
			return ""
		}
		return "the first packet was not seen"
	})
	release()
	if o := <-outcome; o.Server != "a1" {
		t.Errorf("a connection that began while the rules were gone: %s", o)
	}
}
