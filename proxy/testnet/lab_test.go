package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	protocols = []Protocol{TCP, UDP, SCTP}
	families  = []Family{IPv4, IPv6}
)

// serve starts servers of all protocols on a port of each named host.
func serve(t *testing.T, lab *Lab, port uint16, hosts ...string) {
	t.Helper()
	for _, name := range hosts {
		for _, p := range protocols {
			if _, err := lab.Host(name).Serve(p, port); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// at is a port of a host's address.
func at(t *testing.T, h *Host, f Family, port uint16) netip.AddrPort {
	t.Helper()
	a, ok := h.Addr(f)
	if !ok {
		t.Fatalf("%s has no %s address", h.Name(), f)
	}
	return netip.AddrPortFrom(a, port)
}

// want checks who answered a probe and whom it saw.
func want(t *testing.T, what string, o Outcome, server string, client netip.Addr) {
	t.Helper()
	if o.Kind != Answered || o.Server != server || o.Client.Addr() != client {
		t.Errorf("%s: %s; want an answer by %s, which saw %s", what, o, server, client)
	}
}

// Everybody reaches everybody at once, unmasqueraded, over both kinds of links.
func TestEveryPair(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	hosts := []string{"client", "node-a", "node-b", "a1", "a2", "b1", "b2"}
	serve(t, lab, 80, hosts...)
	for _, from := range hosts {
		for _, to := range hosts {
			for _, p := range protocols {
				for _, f := range families {
					what := fmt.Sprintf("%s to %s, %s over %s", from, to, p, f)
					o := lab.Host(from).Probe(p, at(t, lab.Host(to), f, 80))
					want(t, what, o, to, o.Source.Addr())
				}
			}
		}
	}
	for _, pod := range []string{"a1", "b1"} {
		for _, f := range families {
			src := at(t, lab.Host(pod), f, 0).Addr()
			want(t, pod+" to client", lab.Host(pod).Probe(TCP, at(t, lab.Host("client"), f, 80)), "client", src)
		}
	}
}

func TestProbeSource(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	serve(t, lab, 80, "b1")
	node := lab.Host("node-a")
	extra := Prefixes("192.0.2.99/24", "2001:db8:2::99/64")
	for _, p := range extra {
		if err := node.AddAddr(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range protocols {
		for i, f := range families {
			source := netip.AddrPortFrom(extra[i].Addr(), 40123)
			o := node.ProbeWith(p, at(t, lab.Host("b1"), f, 80), ProbeOptions{Source: source})
			if o.Client != source || o.Source != source {
				t.Errorf("%s over %s from %s: %s, source %s", p, f, source, o, o.Source)
			}
		}
	}
	if err := node.DelAddr(extra[0]); err != nil {
		t.Fatal(err)
	}
	o := node.ProbeWith(TCP, at(t, lab.Host("b1"), IPv4, 80), ProbeOptions{Source: netip.AddrPortFrom(extra[0].Addr(), 0)})
	if o.Kind != Broken {
		t.Errorf("from a removed address: %s; want broken", o)
	}
}

// What nobody answers for is unreachable at the outside switch; a route brings
// it to a node.
func TestRoute(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	node, client := lab.Host("node-a"), lab.Host("client")
	for i, vip := range Prefixes("203.0.113.7/32", "2001:db8:f::7/128") {
		dst := netip.AddrPortFrom(vip.Addr(), 80)
		for _, p := range protocols {
			for _, from := range []string{"client", "a1"} {
				if o := lab.Host(from).Probe(p, dst); o.Kind != Unreachable {
					t.Errorf("%s to %s %s without a route: %s; want unreachable", from, p, dst, o)
				}
			}
		}
		if err := node.AddAddr(vip); err != nil {
			t.Fatal(err)
		}
		if _, err := node.ServeAs("vip", TCP, dst); err != nil {
			t.Fatal(err)
		}
		if err := lab.Route(vip, node); err != nil {
			t.Fatal(err)
		}
		want(t, "client to a routed VIP", client.Probe(TCP, dst), "vip", at(t, client, families[i], 0).Addr())
		if err := lab.Unroute(vip); err != nil {
			t.Fatal(err)
		}
		if o := client.Probe(TCP, dst); o.Kind != Unreachable {
			t.Errorf("client to %s after Unroute: %s; want unreachable", dst, o)
		}
	}
}

func TestHostsComeAndGo(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	addr := Addrs("10.244.0.99")
	for range 2 {
		pod, err := lab.AddPod("node-a", Pod{Name: "a99", Addrs: addr})
		if err != nil {
			t.Fatal(err)
		}
		serve(t, lab, 80, "a99")
		want(t, "client to a new pod", lab.Host("client").Probe(TCP, at(t, pod, IPv4, 80)), "a99", at(t, lab.Host("client"), IPv4, 0).Addr())
		if err := pod.Close(); err != nil {
			t.Fatal(err)
		}
		awaitNoLink(t, lab.Host("node-a"))
	}
	_, err := lab.AddPod("node-a", Pod{Name: "stray", Addrs: Addrs("10.9.9.9")})
	if err == nil || !strings.Contains(err.Error(), "10.9.9.9 is in none of the pod CIDRs") {
		t.Errorf("a pod outside the pod CIDRs: %v", err)
	}
	if _, err := lab.AddClient(Client{Name: "client"}); err == nil {
		t.Error("a second host of one name was accepted")
	}
}

// awaitNoLink waits until the kernel has let go of a closed pod: only the links
// of a1 and a2 are left.
func awaitNoLink(t *testing.T, node *Host) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		names, err := node.LinkNames()
		if err != nil {
			t.Fatal(err)
		}
		if len(slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "veth") })) == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the closed pod's link is still there: %v", names)
		}
	}
}

// TestBridgeKeepsItsAddress: pods that come and go must not change the hardware
// address that other pods know their gateway by.
func TestBridgeKeepsItsAddress(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	node := lab.Host("node-b")
	address := func() string {
		out, err := node.Run("ip", "-o", "link", "show", "cni0")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(out, "link/ether ")
		return strings.Fields(after)[0]
	}
	before := address()
	for i := range 8 {
		pod, err := lab.AddPod("node-b", Pod{
			Name: fmt.Sprintf("more-%d", i), Addrs: Addrs(fmt.Sprintf("10.244.1.%d", 100+i)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := address(); got != before {
			t.Fatalf("cni0 has the address %s, before pod %d came it was %s", got, i, before)
		}
		if i%2 == 0 {
			continue
		}
		if err := pod.Close(); err != nil {
			t.Fatal(err)
		}
		if got := address(); got != before {
			t.Fatalf("cni0 has the address %s, before pod %d went it was %s", got, i, before)
		}
	}
}

func TestSysctl(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	before, err := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
	if err != nil {
		t.Fatal(err)
	}
	node := lab.Host("node-a")
	if err := node.SetSysctl("net/ipv4/ip_default_ttl", "33"); err != nil {
		t.Fatal(err)
	}
	for name, ttl := range map[string]string{"node-a": "33", "node-b": "64"} {
		if got, err := lab.Host(name).Sysctl("net/ipv4/ip_default_ttl"); err != nil || got != ttl {
			t.Errorf("%s: ip_default_ttl %q, %v; want %s", name, got, err, ttl)
		}
	}
	after, _ := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
	if string(after) != string(before) {
		t.Errorf("the machine's own ip_default_ttl changed from %q to %q", before, after)
	}
	for name, forward := range map[string]string{"node-a": "1", "a1": "0", "client": "0", "outside": "1"} {
		for _, s := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			if got, err := lab.Host(name).Sysctl(s); err != nil || got != forward {
				t.Errorf("%s: %s is %q, %v; want %s", name, s, got, err, forward)
			}
		}
	}
}

func TestClosedLab(t *testing.T) {
	lab, err := Build(TwoNodes())
	if err != nil {
		t.Fatal(err)
	}
	pod, client := lab.Host("a1"), lab.Host("client")
	if _, err := pod.Serve(TCP, 80); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lab.Close(), lab.Close()); err != nil {
		t.Fatal(err)
	}
	if o := client.Probe(TCP, at(t, pod, IPv4, 80)); o.Kind != Broken {
		t.Errorf("a probe from a closed host: %s; want broken", o)
	}
	if _, err := pod.Serve(TCP, 81); err == nil {
		t.Error("a closed host serves")
	}
}
