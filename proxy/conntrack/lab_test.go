package conntrack

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// timeout is how long a test waits for what must come.
const timeout = 20 * time.Second

// site is a laboratory whose node-a translates frontends to its pods a1 and a2,
// on which servers listen on port 8080. The client's packets to the VIPs
// (10.96.0.0/24, 10.97.0.0/16, fd00:96::/64) come through the node.
type site struct {
	lab                  *testnet.Lab
	node, client, a1, a2 *testnet.Host
}

func newSite(t testing.TB) *site {
	t.Helper()
	lab := testnet.ForTest(t, testnet.TwoNodes())
	s := &site{lab, lab.Host("node-a"), lab.Host("client"), lab.Host("a1"), lab.Host("a2")}
	for _, pod := range []*testnet.Host{s.a1, s.a2} {
		for _, p := range []model.Protocol{model.UDP, model.TCP, model.SCTP} {
			if _, err := pod.Serve(p, 8080); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, prefix := range testnet.Prefixes("10.96.0.0/24", "10.97.0.0/16", "fd00:96::/64") {
		if err := lab.Route(prefix, s.node); err != nil {
			t.Fatal(err)
		}
		// What is not translated goes to a pod, which says nothing to it.
		a1, _ := s.a1.Addr(map[bool]testnet.Family{true: testnet.IPv4, false: testnet.IPv6}[prefix.Addr().Is4()])
		if err := s.node.Route(prefix, a1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.a1.LoadNFT(`table inet lab {
	chain pre {
		type filter hook prerouting priority 0;
		ip daddr { 10.96.0.0/24, 10.97.0.0/16 } drop
		ip6 daddr fd00:96::/64 drop
	}
}`); err != nil {
		t.Fatal(err)
	}
	return s
}

// translate replaces the node's rules for new connections.
func (s *site) translate(t testing.TB, rules ...string) {
	t.Helper()
	if err := s.node.LoadNFT(`table inet lab
flush table inet lab
table inet lab {
	chain zones { type filter hook prerouting priority -300; udp sport 25001 ct zone set 7; udp sport 25002 ct original zone set 9; }
	chain pre { type nat hook prerouting priority -105; ` + strings.Join(rules, "\n") + `
	}
}`); err != nil {
		t.Fatal(err)
	}
}

// send makes a flow from a port of the client and returns how it went, after a
// short time if there is no answer.
func (s *site) send(p model.Protocol, port uint16, dst string) testnet.Outcome {
	return s.probe(p, port, dst, 50*time.Millisecond)
}

func (s *site) probe(p model.Protocol, port uint16, dst string, timeout time.Duration) testnet.Outcome {
	to := netip.MustParseAddrPort(dst)
	family := testnet.IPv6
	if to.Addr().Is4() {
		family = testnet.IPv4
	}
	from, _ := s.client.Addr(family)
	return s.client.ProbeWith(p, to, testnet.ProbeOptions{
		Source: netip.AddrPortFrom(from, port), Timeout: timeout,
	})
}

// mustReach fails the test unless the server answers, over UDP.
func (s *site) mustReach(t *testing.T, server string, port uint16, dst string) {
	t.Helper()
	if o := s.probe(model.UDP, port, dst, timeout); o.Server != server {
		t.Fatalf("from port %d to %s: %s; want an answer of %s", port, dst, o, server)
	}
}

// listed is a flow as the conntrack program lists it.
type listed struct {
	protocol            string
	client, destination netip.AddrPort
	source              netip.AddrPort // of the reply
}

func (l listed) compare(o listed) int {
	return cmp.Or(strings.Compare(l.protocol, o.protocol), l.client.Compare(o.client),
		l.destination.Compare(o.destination), l.source.Compare(o.source))
}

func (l listed) String() string {
	return fmt.Sprintf("%s %s -> %s, reply from %s", l.protocol, l.client, l.destination, l.source)
}

// list lists the node's flows of TCP, UDP and SCTP, sorted.
func (s *site) list(t testing.TB) []listed {
	t.Helper()
	var flows []listed
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := s.node.Run("conntrack", "-L", "-f", family)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if l, ok := parseListed(t, line); ok {
				flows = append(flows, l)
			}
		}
	}
	slices.SortFunc(flows, listed.compare)
	return flows
}

func parseListed(t testing.TB, line string) (listed, bool) {
	t.Helper()
	var addrs []netip.Addr
	var ports []uint16
	for field := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "src", "dst":
			addrs = append(addrs, netip.MustParseAddr(value))
		case "sport", "dport":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				t.Fatalf("line of conntrack %q: %v", line, err)
			}
			ports = append(ports, uint16(n))
		}
	}
	if len(addrs) < 4 || len(ports) < 4 {
		return listed{}, false // ICMP
	}
	at := func(i int) netip.AddrPort { return netip.AddrPortFrom(addrs[i], ports[i]) }
	return listed{strings.Fields(line)[0], at(0), at(1), at(2)}, true
}

// running is a Cleaner at work on the site's node.
type running struct {
	*Cleaner
	deleted atomic.Int64
}

func (s *site) run(t testing.TB) *running {
	t.Helper()
	r := &running{}
	r.Cleaner = New(Options{
		NetNS: s.node.FD(), Log: testr.NewWithInterface(t, testr.Options{Verbosity: 1}),
		OnDeleted: func(n int) { r.deleted.Add(int64(n)) },
	})
	r.start(t)
	return r
}

// start runs the Cleaner until the test ends.
func (r *running) start(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// awaitDeleted waits until so many flows were deleted since the start.
func (r *running) awaitDeleted(t testing.TB, n int64) {
	t.Helper()
	await(t, fmt.Sprintf("%d flows deleted", n), func() bool { return r.deleted.Load() >= n })
	if got := r.deleted.Load(); got != n {
		t.Errorf("%d flows deleted; want %d", got, n)
	}
}

// awaitIdle waits until all requests are carried out, repetitions included.
func (r *running) awaitIdle(t testing.TB) {
	t.Helper()
	await(t, "all requests carried out", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.requests) == 0
	})
}

func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", timeout, what)
		}
	}
}

// udp is a request for a frontend.
func udp(key string, serving ...string) Frontend {
	at := netip.MustParseAddrPort(key)
	f := Frontend{Key: model.FrontendKey{Addr: at.Addr(), Port: at.Port(), Protocol: model.UDP}}
	for _, b := range serving {
		f.Serving = append(f.Serving, netip.MustParseAddrPort(b))
	}
	return f
}

// flood enters one UDP flow per source port from 10,000 to each destination,
// with raw packets, until the node has all of them.
func (s *site) flood(t testing.TB, portsEach int, dst ...netip.AddrPort) {
	t.Helper()
	var conn net.PacketConn
	if err := s.client.Do(func() (err error) {
		conn, err = net.ListenPacket("ip4:udp", "198.51.100.10")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	want := portsEach * len(dst)
	await(t, fmt.Sprintf("%d flows entered", want), func() bool {
		for _, d := range dst {
			to := &net.IPAddr{IP: d.Addr().AsSlice()}
			for i := range portsEach {
				if _, err := conn.WriteTo(datagram(uint16(10000+i), d.Port()), to); err != nil && !errors.Is(err, unix.ENOBUFS) {
					t.Fatal(err)
				}
			}
		}
		return s.count(t) >= want
	})
}

// datagram is an empty UDP datagram without checksum.
func datagram(from, to uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	return append(b, 0, 8, 0, 0)
}

// count is how many flows the node has.
func (s *site) count(t testing.TB) int {
	t.Helper()
	text, err := s.node.Sysctl("net/netfilter/nf_conntrack_count")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
