package testnet

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A node that rejects and drops by port, in the chains for pods and clients and
// in those for its own processes.
const verdicts = `table inet lab {
	chain verdicts {
		meta l4proto { tcp, udp, sctp } th dport 1 reject with icmpx port-unreachable
		meta l4proto { tcp, udp, sctp } th dport 2 drop
		meta l4proto { tcp, udp, sctp } th dport 3 reject with icmpx host-unreachable
		tcp dport 4 reject with tcp reset
	}
	chain forward { type filter hook forward priority 0; jump verdicts; }
	chain output { type filter hook output priority 0; jump verdicts; }
}`

func TestVerdicts(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	if err := lab.Host("node-a").LoadNFT(verdicts); err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup // some refusals take a second: see Refused
	for _, from := range []string{"node-a", "a2", "client"} {
		for _, p := range protocols {
			for _, f := range families {
				tasks.Go(func() { tryVerdicts(t, lab.Host(from), p, at(t, lab.Host("a1"), f, 0).Addr()) })
			}
		}
	}
	tasks.Wait()
}

func tryVerdicts(t *testing.T, from *Host, p Protocol, dst netip.Addr) {
	kinds := map[uint16]OutcomeKind{1: Refused, 2: Silent, 3: Unreachable}
	if p == TCP {
		kinds[4] = Refused
	}
	for port, kind := range kinds {
		o := from.ProbeWith(p, netip.AddrPortFrom(dst, port), ProbeOptions{Timeout: patience(kind)})
		if o.Kind != kind || o.Err == nil {
			t.Errorf("%s to port %d of %s over %s: %s; want %s", from.Name(), port, dst, p, o, kind)
		}
	}
}

// Raw sockets connected to one address hear each other's ICMP errors: each probe must
// tell which is its own.
func TestSCTPRefusalOfAnother(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	if err := lab.Host("node-a").LoadNFT(verdicts); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Host("a1").Serve(SCTP, 80); err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		dst := at(t, lab.Host("a1"), f, 0).Addr()
		var tasks sync.WaitGroup
		for port, kind := range map[uint16]OutcomeKind{80: Answered, 1: Refused, 3: Unreachable} {
			for range 8 {
				tasks.Go(func() {
					for range 20 {
						if o := lab.Host("client").Probe(SCTP, netip.AddrPortFrom(dst, port)); o.Kind != kind {
							t.Errorf("port %d over %s: %s; want %s", port, f, o, kind)
						}
					}
				})
			}
		}
		tasks.Wait()
	}
}

// patience is long where an answer is due, and short where silence is.
func patience(k OutcomeKind) time.Duration {
	if k == Silent {
		return 50 * time.Millisecond
	}
	return 5 * time.Second
}

// A host without servers refuses TCP and UDP; it knows no SCTP.
func TestClosedPort(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	for _, to := range []string{"node-a", "a1", "b1"} {
		for _, f := range families {
			dst := at(t, lab.Host(to), f, 9)
			for _, p := range []Protocol{TCP, UDP} {
				if o := lab.Host("client").Probe(p, dst); o.Kind != Refused {
					t.Errorf("closed port of %s, %s over %s: %s; want refused", to, p, f, o)
				}
			}
			if o := lab.Host("client").Probe(SCTP, dst); o.Kind != Unreachable {
				t.Errorf("SCTP to %s over %s without a server: %s; want unreachable", to, f, o)
			}
		}
	}
}

func TestServerCloses(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	dst := at(t, lab.Host("a1"), IPv4, 80)
	for _, p := range protocols {
		s, err := lab.Host("a1").Serve(p, 80)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "before the close", lab.Host("client").Probe(p, dst), "a1", at(t, lab.Host("client"), IPv4, 0).Addr())
		if s.Hits() != 1 {
			t.Errorf("%s server counts %d hits; want 1", p, s.Hits())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if o := lab.Host("client").Probe(p, dst); o.Kind != Refused && o.Kind != Unreachable {
			t.Errorf("%s after the close: %s; want refused or, over SCTP, unreachable", p, o)
		}
	}
}

func TestClassify(t *testing.T) {
	for err, kind := range map[error]OutcomeKind{
		nil: Answered, unix.ECONNREFUSED: Refused, errSCTPAbort: Refused,
		unix.EHOSTUNREACH: Unreachable, unix.EACCES: Unreachable,
		unix.ETIMEDOUT: Silent, unix.EPERM: Silent,
		unix.ECONNRESET: Broken, unix.EADDRNOTAVAIL: Broken,
	} {
		if err != nil {
			err = fmt.Errorf("dial: %w", err)
		}
		if got := classify(err); got != kind {
			t.Errorf("%v is %s; want %s", err, got, kind)
		}
	}
}

func TestSCTPPacket(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.1:40000")
	for _, p := range []sctpPacket{
		{SourcePort: 40000, DestPort: 80, Type: chunkInit, InitiateTag: 7},
		{SourcePort: 80, DestPort: 40000, Tag: 7, Type: chunkInitAck, InitiateTag: 9, Cookie: greeting("a1", client)},
		{SourcePort: 40000, DestPort: 80, Tag: 9, Type: chunkAbort},
	} {
		b := p.marshal()
		if len(b)%4 != 0 {
			t.Errorf("packet of type %d has %d bytes; chunks are padded to 4", p.Type, len(b))
		}
		got, err := parseSCTP(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
			t.Errorf("parsed %v, %v; want %v", got, err, p)
		}
		for n := range len(b) {
			if _, err := parseSCTP(b[:n]); err == nil {
				t.Errorf("packet of type %d cut to %d of %d bytes was parsed", p.Type, n, len(b))
			}
		}
	}
}

func TestParseGreeting(t *testing.T) {
	client := netip.MustParseAddrPort("[2001:db8::1]:40000")
	if name, got, err := parseGreeting(greeting("a1", client)); name != "a1" || got != client || err != nil {
		t.Errorf("parsed %s %s, %v", name, got, err)
	}
	mapped := netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")
	if got := string(greeting("a1", mapped)); got != "a1 192.0.2.1:1\n" {
		t.Errorf("greeting of a mapped address: %q", got)
	}
	for _, bad := range []string{"", "a1", "a1 \n", "a1 nowhere\n"} {
		if _, _, err := parseGreeting([]byte(bad)); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
}
