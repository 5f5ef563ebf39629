package proxy_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// sticky is the web Service with session affinity.
func sticky(timeout time.Duration) *model.Service {
	svc := webService()
	svc.Affinity = timeout
	return svc
}

// servedBy probes n times and returns who answered; it fails if nobody did.
func servedBy(t *testing.T, from *testnet.Host, p model.Protocol, dst netip.AddrPort, n int) map[string]int {
	t.Helper()
	servers := map[string]int{}
	for range n {
		o := from.Probe(p, dst)
		if o.Kind != testnet.Answered {
			t.Fatalf("%s -> %s %s: %s", from.Name(), p, dst, o)
		}
		servers[o.Server]++
	}
	return servers
}

func only(t *testing.T, servers map[string]int) string {
	t.Helper()
	if len(servers) != 1 {
		t.Fatalf("not one server: %v", servers)
	}
	for name := range servers {
		return name
	}
	return ""
}

func serviceUpdate(svc *model.Service) model.Update {
	return model.Update{Services: map[model.ServiceName]*model.Service{svc.Name: svc}}
}

func TestAffinity(t *testing.T) {
	lab := newLab(t)
	f := newFeed(firstUpdate(sticky(3*time.Hour), webSlice(lab, "a1", "a2", "b1", "b2")))
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	client := lab.Host("client")
	for _, p := range protocols {
		for _, dst := range addrPorts(80, "10.96.0.10", "fd00:10:96::10", "203.0.113.20", "2001:db8:113::20") {
			only(t, servedBy(t, client, p, dst, 12))
		}
	}
	vip := netip.MustParseAddrPort("203.0.113.20:80")
	bound := only(t, servedBy(t, client, model.TCP, vip, 3))
	listing, err := lab.Host("node-a").Run("nft", "list", "map", "inet", "kube-vmap", "affinity4")
	if err != nil || !strings.Contains(listing, "198.51.100.10 . 203.0.113.20 . tcp . 80") {
		t.Errorf("listing: %v\n%s", err, listing)
	}

	// The backend leaves: its bindings go at once, others stay.
	var rest []string
	for _, pod := range []string{"a1", "a2", "b1", "b2"} {
		if pod != bound {
			rest = append(rest, pod)
		}
	}
	n := w.count()
	f.apply(sliceUpdate(webSlice(lab, rest...)))
	w.wait(t, n+1) // the change, and the deletes of bindings
	if now := only(t, servedBy(t, client, model.TCP, vip, 12)); now == bound {
		t.Errorf("still bound to %s, which left", bound)
	}

	// Without affinity, new connections spread again.
	n = w.count()
	f.apply(serviceUpdate(webService()))
	w.wait(t, n)
	if servers := servedBy(t, client, model.TCP, vip, 60); len(servers) != 3 {
		t.Errorf("affinity is off, and served by %v", servers)
	}
}

func TestAffinityTimeout(t *testing.T) {
	lab := newLab(t)
	f := newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "a2", "b1", "b2")))
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	vip := netip.MustParseAddrPort("203.0.113.20:80")
	bound := only(t, servedBy(t, lab.Host("client"), model.TCP, vip, 5))
	n := w.count()
	f.apply(serviceUpdate(sticky(time.Minute)))
	w.wait(t, n+1) // the change, and the bindings' new timeout
	listing, err := lab.Host("node-a").Run("nft", "list", "map", "inet", "kube-vmap", "affinity4")
	if err != nil || !strings.Contains(listing, "timeout 1m") || strings.Contains(listing, "timeout 1h") {
		t.Errorf("listing: %v\n%s", err, listing)
	}
	if now := only(t, servedBy(t, lab.Host("client"), model.TCP, vip, 5)); now != bound {
		t.Errorf("was bound to %s, with the new timeout to %s", bound, now)
	}
	f.apply(serviceUpdate(sticky(time.Second)))
	w.wait(t, n+2)
	time.Sleep(1500 * time.Millisecond) // the binding's time
	if _, err := lab.Host("node-a").Run("conntrack", "-F"); err != nil {
		t.Fatal(err)
	}
	servers := map[string]int{}
	for range 12 {
		for name := range servedBy(t, lab.Host("client"), model.TCP, vip, 1) {
			servers[name]++
		}
		time.Sleep(1100 * time.Millisecond)
		if len(servers) > 1 {
			return
		}
	}
	t.Errorf("a binding of one second lives on: %v", servers)
}

// TestAffinityRetransmission: a client that repeats its first packet to a backend that
// has left is not bound to it again.
func TestAffinityRetransmission(t *testing.T) {
	lab := newLab(t)
	node, first := lab.Host("node-a"), firstUpdate(sticky(time.Hour), webSlice(lab, "a1"))
	stopped, stop := context.WithCancel(context.Background())
	<-startUntil(t, stopped, node, nodeConfig(), newFeed(first)).settled
	stop() // the one that makes the table forgets unanswered connections for a second
	f := newFeed(first)
	w := startUntil(t, context.Background(), node, nodeConfig(), f)
	<-w.settled
	for _, command := range []string{
		"add table inet silence", "add chain inet silence input { type filter hook input priority 0; policy drop; }",
	} {
		if _, err := lab.Host("a1").Run("nft", command); err != nil {
			t.Fatal(err)
		}
	}
	client, vip := lab.Host("client"), netip.MustParseAddrPort("203.0.113.20:80")
	patient := make(chan testnet.Outcome)
	go func() {
		patient <- client.ProbeWith(model.TCP, vip, testnet.ProbeOptions{Timeout: 2500 * time.Millisecond})
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		listing, err := node.Run("nft", "list", "map", "inet", "kube-vmap", "affinity4")
		if err == nil && strings.Contains(listing, "203.0.113.20") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no binding: %v\n%s", err, listing)
		}
	}
	n := w.count()
	f.apply(sliceUpdate(webSlice(lab, "a2")))
	w.wait(t, n+1) // the change, and the delete of the binding
	if o := <-patient; o.Kind == testnet.Answered {
		t.Fatalf("the silent backend answered: %s", o)
	}
	if server := only(t, servedBy(t, client, model.TCP, vip, 3)); server != "a2" {
		t.Errorf("served by %s, want a2", server)
	}
}

// TestAffinityFull: a map that is full costs affinity, and never service.
func TestAffinityFull(t *testing.T) {
	lab := newLab(t)
	config := nodeConfig()
	config.AffinitySize = 2
	f := newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "a2", "b1", "b2")))
	start(t, lab.Host("node-a"), config, f)
	client := lab.Host("client")
	vip := netip.MustParseAddrPort("203.0.113.20:80")
	servers := map[string]int{}
	for i := range 8 {
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)})
		if err := client.AddAddr(netip.PrefixFrom(addr, 24)); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			o := client.ProbeWith(model.TCP, vip, testnet.ProbeOptions{Source: netip.AddrPortFrom(addr, 0)})
			if o.Kind != testnet.Answered {
				t.Fatalf("client %d: %s", i, o)
			}
			if i >= 2 {
				servers[o.Server]++
			}
		}
	}
	if len(servers) < 2 {
		t.Errorf("clients without a binding are all served by %v", servers)
	}
}
