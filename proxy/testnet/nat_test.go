package testnet

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// One VIP per family and the addresses TwoNodes gives pods.
var (
	vips = map[Family]netip.Addr{IPv4: netip.MustParseAddr("10.96.0.1"), IPv6: netip.MustParseAddr("fd00:96::1")}

	// translate sends port 80 of the VIPs to one pod, and masquerades what came
	// from the client or would come back to its own sender.
	translate = `table inet lab {
	chain pre { type nat hook prerouting priority -105; jump services; }
	chain out { type nat hook output priority -105; jump services; }
	chain services {
		ip daddr 10.96.0.1 meta l4proto { tcp, udp, sctp } th dport 80 dnat ip to %[1]s:8080
		ip6 daddr fd00:96::1 meta l4proto { tcp, udp, sctp } th dport 80 dnat ip6 to [%[2]s]:8080
	}
	chain post {
		type nat hook postrouting priority 100;
		ct status dnat ip saddr 198.51.100.0/24 masquerade
		ct status dnat ip6 saddr 2001:db8:100::/64 masquerade
		ct status dnat ip saddr %[1]s ip daddr %[1]s masquerade
		ct status dnat ip6 saddr %[2]s ip6 daddr %[2]s masquerade
	}
}`
)

// loadTranslate makes a node send its VIPs to a pod.
func loadTranslate(t *testing.T, node, pod *Host) {
	t.Helper()
	v4, v6 := at(t, pod, IPv4, 0).Addr(), at(t, pod, IPv6, 0).Addr()
	if err := node.LoadNFT(fmt.Sprintf(translate, v4, v6)); err != nil {
		t.Fatal(err)
	}
}

// gateways of the pods: what a masqueraded packet to a pod of the node comes from.
var podGateways = map[string]map[Family]string{
	"node-a": {IPv4: "10.244.0.1", IPv6: "fd00:10:244::1"},
	"node-b": {IPv4: "10.244.1.1", IPv6: "fd00:10:244:1::1"},
}

// The node's address translation is seen by all kinds of clients: the node's own
// processes, its pods, the backend itself, and a client outside.
func TestTranslation(t *testing.T) {
	for _, c := range []struct{ node, backend, peer string }{
		{"node-a", "a1", "a2"},
		{"node-b", "b1", "b2"},
	} {
		lab := ForTest(t, TwoNodes())
		node, backend := lab.Host(c.node), lab.Host(c.backend)
		t.Run(fmt.Sprintf("%s, %s", c.node, node.podLink), func(t *testing.T) {
			serve(t, lab, 8080, c.backend)
			loadTranslate(t, node, backend)
			for f, vip := range vips {
				if err := lab.Route(single(vip), node); err != nil {
					t.Fatal(err)
				}
				gateway := netip.MustParseAddr(podGateways[c.node][f])
				seen := map[string]netip.Addr{
					"client":  gateway,
					c.backend: gateway,
					c.peer:    at(t, lab.Host(c.peer), f, 0).Addr(),
				}
				for from, client := range seen {
					for _, p := range protocols {
						o := lab.Host(from).Probe(p, netip.AddrPortFrom(vip, 80))
						want(t, fmt.Sprintf("%s to the VIP, %s over %s", from, p, f), o, c.backend, client)
						if masqueraded := client == gateway; o.Masqueraded() != masqueraded {
							t.Errorf("%s to the VIP, %s over %s: Masqueraded() is %v", from, p, f, !masqueraded)
						}
					}
				}
				for _, p := range protocols {
					o := node.Probe(p, netip.AddrPortFrom(vip, 80))
					want(t, fmt.Sprintf("the node to the VIP, %s over %s", p, f), o, c.backend, o.Source.Addr())
				}
			}
		})
	}
}

// Without hairpin mode on its port, a bridged pod does not reach itself through
// the VIP: the test above proves something.
func TestHairpinNeedsThePort(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	node, backend := lab.Host("node-b"), lab.Host("b1")
	serve(t, lab, 8080, "b1")
	loadTranslate(t, node, backend)
	ports, err := node.LinkNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ports {
		if link, err := node.links.LinkByName(name); err == nil && link.Type() == "veth" && name != "eth0" {
			if err := node.links.LinkSetHairpin(link, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := backend.ProbeWith(TCP, netip.AddrPortFrom(vips[IPv4], 80), ProbeOptions{Timeout: 100 * time.Millisecond})
	if o.Kind != Silent {
		t.Errorf("a pod to itself without hairpin mode: %s; want silent", o)
	}
}

func TestDistribution(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	serve(t, lab, 8080, "a1", "b1")
	node, client := lab.Host("node-a"), lab.Host("client")
	if err := node.LoadNFT(`table inet lab {
	chain pre {
		type nat hook prerouting priority -105;
		ip daddr 192.0.2.10 tcp dport 80 dnat ip to numgen inc mod 2 map { 0 : 10.244.0.11, 1 : 10.244.1.11 } : 8080
	}
	chain post { type nat hook postrouting priority 100; ct status dnat masquerade; }
}`); err != nil {
		t.Fatal(err)
	}
	d := client.Distribution(TCP, at(t, node, IPv4, 80), 100)
	if d.Servers["a1"] != 50 || d.Servers["b1"] != 50 || len(d.Failed) != 0 || d.MaxDeviation() != 0 {
		t.Errorf("distribution %+v, deviation %v; want 50 each", d, d.MaxDeviation())
	}
	d = client.Distribution(TCP, at(t, node, IPv4, 81), 10)
	if d.Failed[Refused] != 10 || d.First.Kind != Refused || d.MaxDeviation() != 0 {
		t.Errorf("distribution over a closed port: %+v; want 10 refused", d)
	}
	if got := (Distribution{Servers: map[string]int{"a": 60, "b": 90}}).MaxDeviation(); got < 0.199 || got > 0.201 {
		t.Errorf("60 and 90 of 150 deviate by %v; want 0.2", got)
	}
}
