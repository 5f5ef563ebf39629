package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRequestIsDoneTwice(t *testing.T) {
	r := requests{}
	f := udp("10.96.0.10:53", "10.244.0.11:8080")
	r.add(&f, start)
	first := r.take(start)
	if len(first) != 1 {
		t.Fatalf("first pass takes %d requests; want 1", len(first))
	}
	r.done(first, start)
	if b := r.take(start.Add(repeatAfter - 1)); b != nil {
		t.Errorf("repeated early: %v", b)
	}
	if due, ok := r.next(); !ok || !due.Equal(start.Add(repeatAfter)) {
		t.Errorf("repetition due at %v, %v; want %v later", due, ok, repeatAfter)
	}
	r.done(r.take(start.Add(repeatAfter)), start.Add(repeatAfter))
	if due, ok := r.next(); ok {
		t.Errorf("after two passes, next is due at %v; want none", due)
	}
}

func TestRequestReplaced(t *testing.T) {
	r := requests{}
	old, young := udp("10.96.0.10:53", "10.244.0.11:8080"), udp("10.96.0.10:53", "10.244.0.12:8080")
	r.add(&old, start)
	pass := r.take(start)
	r.add(&young, start)
	r.done(pass, start)
	if b := r.take(start); len(b) != 1 {
		t.Error("a request that came during a pass was counted as done by it")
	}
	r.done(r.take(start), start)
	r.add(&old, start) // while the repetition waits
	if b := r.take(start); len(b) != 1 {
		t.Error("a request that replaced one that waits for its repetition waits too")
	}
	key := netip.MustParseAddrPort("10.96.0.10:53")
	if !r.serves(key, old.Serving[0]) || r.serves(key, young.Serving[0]) {
		t.Error("the last request doesn't win")
	}
}

func TestRequestAmended(t *testing.T) {
	r := requests{}
	f := udp("10.96.0.10:53")
	r.amend(&f)
	if _, ok := r.next(); ok {
		t.Fatal("to amend what is not there asks for it")
	}
	r.add(&f, start)
	pass := r.take(start)
	f.Serving = []model.Backend{netip.MustParseAddrPort("10.244.0.11:8080")}
	r.amend(&f)
	if !r.serves(targetOf(f.Key), f.Serving[0]) {
		t.Error("what was amended during a pass does not count in it")
	}
	r.done(pass, start)
	if due, _ := r.next(); !due.Equal(start.Add(repeatAfter)) {
		t.Error("to amend changes the passes")
	}
}

// Mistakes of the caller that would delete the flows of backends that serve.
func TestRequestPutRight(t *testing.T) {
	r := requests{}
	f := udp("[::ffff:10.96.0.10]:53", "10.244.0.12:8080", "10.244.0.11:9090", "10.244.0.11:8080")
	r.add(&f, start)
	for _, b := range f.Serving {
		if !r.serves(netip.MustParseAddrPort("10.96.0.10:53"), b) {
			t.Errorf("%s of an unsorted list does not serve", b)
		}
	}
	if r.serves(netip.MustParseAddrPort("10.96.0.10:53"), netip.MustParseAddrPort("10.244.0.12:9090")) {
		t.Error("another port of a backend serves")
	}
}

func TestPace(t *testing.T) {
	var p pace
	p.succeeded(start, start.Add(10*time.Millisecond))
	if rest := p.earliest.Sub(start); rest != 50*time.Millisecond {
		t.Errorf("after a pass of 10 ms the next may begin after %v; want 50 ms", rest)
	}
	var waits []time.Duration
	for range 12 {
		p.failed(start)
		waits = append(waits, p.earliest.Sub(start))
	}
	for i, w := range waits {
		if want := min(100*time.Millisecond<<i, time.Minute); w != want {
			t.Errorf("wait after failure %d: %v; want %v", i+1, w, want)
		}
	}
	p.succeeded(start, start)
	p.failed(start)
	if p.backoff != firstBackoff {
		t.Errorf("first failure after a success waits %v; want %v", p.backoff, firstBackoff)
	}
}

func TestFilters(t *testing.T) {
	addr := netip.MustParseAddr("10.96.0.10")
	for _, c := range []struct {
		what    string
		targets []string
		want    []filter
	}{
		{"one frontend", []string{"10.96.0.10:53"}, []filter{{family: ipv4, addr: addr, port: 53}}},
		{"one of IPv6, whose address can't be filtered", []string{"[fd00:96::10]:53"}, []filter{{family: ipv6, port: 53}}},
		{
			"a Service's frontends",
			[]string{"10.96.0.10:53", "192.0.2.99:53", "[fd00:96::10]:53", "[2001:db8::99]:53"},
			[]filter{{family: ipv4, port: 53}, {family: ipv6, port: 53}},
		},
		{"the ports of one address", []string{"10.96.0.10:53", "10.96.0.10:54"}, []filter{{family: ipv4, addr: addr}}},
		{"nothing in common", []string{"10.96.0.10:53", "10.96.0.11:54", "10.96.0.10:54"}, []filter{{family: ipv4}}},
	} {
		b := batch{}
		for _, s := range c.targets {
			b[netip.MustParseAddrPort(s)] = &request{}
		}
		if diff := cmp.Diff(c.want, b.filters(), cmpopts.EquateComparable(filter{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}
