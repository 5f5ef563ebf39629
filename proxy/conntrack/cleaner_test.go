package conntrack

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// stays and goes are the outcomes of flows in TestRule.
const (
	stays = false
	goes  = true
)

// Which flows go and which stay, among all kinds that meet on a node.
func TestRule(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t,
		"ip daddr 10.96.0.10 udp dport 53 udp sport 20000-29999 dnat ip to 10.244.0.11:8080",
		"ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.12:8080",
		"ip daddr 10.96.0.10 meta l4proto { tcp, sctp } th dport 53 dnat ip to 10.244.0.11:8080",
		"ip daddr { 10.96.0.10, 10.96.0.11 } udp dport { 53, 54 } dnat ip to 10.244.0.11:8080",
		"ip6 daddr fd00:96::10 udp dport 53 udp sport 20000-29999 dnat ip6 to [fd00:10:244::11]:8080",
		"ip6 daddr fd00:96::10 udp dport 53 dnat ip6 to [fd00:10:244::12]:8080",
		"ip6 daddr fd00:96::10 meta l4proto { tcp, sctp } th dport 53 dnat ip6 to [fd00:10:244::11]:8080",
		"ip6 daddr { fd00:96::10, fd00:96::11 } udp dport { 53, 54 } dnat ip6 to [fd00:10:244::11]:8080",
	)
	for _, name := range []string{"tcp_timeout_close", "sctp_timeout_closed"} { // that of closed connections is 10 s
		if err := s.node.SetSysctl("net/netfilter/nf_conntrack_"+name, "600"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.node.Serve(model.UDP, 30053); err != nil {
		t.Fatal(err)
	}
	frontends := []Frontend{
		udp("10.96.0.10:53", "10.244.0.12:8080"), udp("[fd00:96::10]:53", "[fd00:10:244::12]:8080"),
		udp("192.0.2.10:30053", "10.244.0.12:8080"), udp("[2001:db8:2::10]:30053", "[fd00:10:244::12]:8080"),
		udp("10.96.0.12:53"), udp("[fd00:96::12]:53"),
	}
	tcp := udp("10.96.0.10:53")
	tcp.Key.Protocol = model.TCP
	sctp := udp("10.96.0.10:53")
	sctp.Key.Protocol = model.SCTP

	kinds := []struct {
		what     string
		protocol model.Protocol
		port     uint16
		to4, to6 string
		gone     bool
	}{
		{"to a removed backend", model.UDP, 20001, "10.96.0.10:53", "[fd00:96::10]:53", goes},
		{"another one", model.UDP, 20002, "10.96.0.10:53", "[fd00:96::10]:53", goes},
		{"in a zone", model.UDP, 25001, "10.96.0.10:53", "[fd00:96::10]:53", goes},
		{"in a zone of the original direction", model.UDP, 25002, "10.96.0.10:53", "[fd00:96::10]:53", goes},
		{"not translated, to a frontend without backends", model.UDP, 20003, "10.96.0.12:53", "[fd00:96::12]:53", goes},
		{"not translated, to a node port", model.UDP, 20004, "192.0.2.10:30053", "[2001:db8:2::10]:30053", goes},
		{"to the node port's number on another address", model.UDP, 20005, "10.244.0.1:30053", "[fd00:10:244::1]:30053", stays},
		{"to a backend that serves", model.UDP, 30001, "10.96.0.10:53", "[fd00:96::10]:53", stays},
		{"to another port", model.UDP, 20006, "10.96.0.10:54", "[fd00:96::10]:54", stays},
		{"to another address", model.UDP, 20007, "10.96.0.11:53", "[fd00:96::11]:53", stays},
		{"straight to the removed backend", model.UDP, 20008, "10.244.0.11:8080", "[fd00:10:244::11]:8080", stays},
		{"of TCP", model.TCP, 20009, "10.96.0.10:53", "[fd00:96::10]:53", stays},
		{"of SCTP", model.SCTP, 20010, "10.96.0.10:53", "[fd00:96::10]:53", stays},
	}
	var gone int64
	stale := map[uint16]bool{}
	for _, k := range kinds {
		s.send(k.protocol, k.port, k.to4)
		s.send(k.protocol, k.port, k.to6)
		if k.gone {
			gone += 2
			stale[k.port] = true
		}
	}
	var before []listed
	await(t, "all flows entered", func() bool {
		before = s.list(t)
		// The answers to port 25001 are flows of their own: they are in no zone.
		return len(before) == 2*len(kinds)+2
	})
	want := slices.DeleteFunc(slices.Clone(before), func(l listed) bool { return stale[l.client.Port()] })

	r := s.run(t)
	r.Clean(append(frontends, tcp, sctp))
	r.awaitDeleted(t, gone)
	r.awaitIdle(t)
	if diff := cmp.Diff(want, s.list(t), cmpopts.EquateComparable(listed{})); diff != "" {
		t.Errorf("flows left (-want +got):\n%s", diff)
	}
}

// A client that keeps its port: while its flow is there, it stays with what the
// flow says, whatever the table says; once that is cleaned it moves.
func TestClientsMoveOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, f := range []struct{ vip, a1, a2, rule string }{
		{"10.96.0.10:53", "10.244.0.11:8080", "10.244.0.12:8080", "ip daddr 10.96.0.10 udp dport 53 dnat ip to "},
		{"[fd00:96::10]:53", "[fd00:10:244::11]:8080", "[fd00:10:244::12]:8080", "ip6 daddr fd00:96::10 udp dport 53 dnat ip6 to "},
	} {
		s.translate(t) // no backend
		if o := s.send(model.UDP, 20001, f.vip); o.Server != "" {
			t.Fatalf("%s without a backend: %s", f.vip, o)
		}
		s.translate(t, f.rule+f.a1)
		if o := s.send(model.UDP, 20001, f.vip); o.Server != "" {
			t.Fatalf("%s with a flow from before the first backend: %s; nothing to clean?", f.vip, o)
		}
		r := s.run(t)
		r.Clean([]Frontend{udp(f.vip, f.a1)})
		r.awaitDeleted(t, 1)
		s.mustReach(t, "a1", 20001, f.vip)

		s.translate(t, f.rule+f.a2)
		s.mustReach(t, "a1", 20001, f.vip)
		r.Clean([]Frontend{udp(f.vip, f.a2)})
		r.awaitDeleted(t, 2)
		s.mustReach(t, "a2", 20001, f.vip)
	}
}

// A packet that found the old backend may enter its flow after the flows were
// dumped: that is what the repetition is for.
func TestFlowOfPacketInFlight(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.11:8080")
	s.mustReach(t, "a1", 20001, "10.96.0.10:53")
	r := s.run(t)
	r.Clean([]Frontend{udp("10.96.0.10:53")})
	r.awaitDeleted(t, 1)
	s.mustReach(t, "a1", 20001, "10.96.0.10:53") // the table was not changed at all
	r.awaitDeleted(t, 2)
	r.awaitIdle(t)
	if left := s.list(t); len(left) > 0 {
		t.Errorf("flows left: %v", left)
	}
}

// A backend that comes between a request and its repetition keeps its flows.
func TestAmend(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t,
		"ip daddr 10.96.0.10 udp dport 53 udp sport 20000-29999 dnat ip to 10.244.0.11:8080",
		"ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.12:8080")
	s.mustReach(t, "a1", 20001, "10.96.0.10:53")
	r := s.run(t)
	r.Clean([]Frontend{udp("10.96.0.10:53")})
	r.awaitDeleted(t, 1)
	r.Amend([]Frontend{udp("10.96.0.10:53", "10.244.0.12:8080"), udp("10.96.0.11:53")})
	s.mustReach(t, "a2", 30001, "10.96.0.10:53")
	s.mustReach(t, "a1", 20002, "10.96.0.10:53")
	r.awaitDeleted(t, 2)
	r.awaitIdle(t)
	left := s.list(t)
	if len(left) != 1 || left[0].source != netip.MustParseAddrPort("10.244.0.12:8080") {
		t.Errorf("flows left: %v; want that of a2", left)
	}
}

// One frontend of 200, 20,000 flows.
func TestManyFlows(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.97.0.0/16 udp dport 53 dnat ip to 10.244.0.11:8080")
	vips := make([]netip.AddrPort, 200)
	for i := range vips {
		vips[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 97, 0, byte(i)}), 53)
	}
	s.flood(t, 100, vips...)
	before := s.count(t)
	r := s.run(t)
	r.Clean([]Frontend{udp("10.97.0.7:53", "10.244.0.12:8080")})
	r.awaitDeleted(t, 100)
	if got := s.count(t); got != before-100 {
		t.Errorf("%d flows left of %d; want 100 fewer", got, before)
	}
	for _, l := range s.list(t) {
		if l.destination == vips[7] {
			t.Errorf("left: %s", l)
		}
	}

	all := make([]Frontend, len(vips))
	for i, vip := range vips {
		all[i] = udp(vip.String())
	}
	r.Clean(all)
	r.awaitDeleted(t, 20000)
	if left := s.list(t); len(left) > 0 {
		t.Errorf("%d flows left, such as %s", len(left), left[0])
	}
}
