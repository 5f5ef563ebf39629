package proxy_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// counts reads what the kernel has counted: per frontend, and per backend.
func counts(t *testing.T, host *testnet.Host) (frontends map[string]uint64, backends map[string]uint64) {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: host.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frontends, backends = map[string]uint64{}, map[string]uint64{}
	err = proxy.Connections("kube-vmap", conn)(func(r metrics.Reading) {
		if r.Backend.IsValid() {
			backends[r.Backend.String()] += r.Connections
			return
		}
		if r.ServicePort.Service != web {
			t.Errorf("reading %+v", r)
		}
		frontends[r.Frontend.String()] += r.Connections
	})
	if err != nil {
		t.Fatal(err)
	}
	return frontends, backends
}

// TestCounters: a connection counts once, for its frontend and for its backend, and
// the count stays when the element is replaced, and when another proxy comes.
func TestCounters(t *testing.T) {
	lab := newLab(t)
	node, client := lab.Host("node-a"), lab.Host("client")
	config := nodeConfig()
	config.Counters = ruleset.CountEndpoints
	f := newFeed(firstUpdate(webService(), webSlice(lab, "a1")))
	ctx, stop := context.WithCancel(t.Context())
	w := startUntil(t, ctx, node, config, f)
	<-w.settled
	connect := func(n int) {
		t.Helper()
		servedBy(t, client, protocols[0], netip.MustParseAddrPort("203.0.113.20:80"), n)
	}
	expect := func(frontend, a1 uint64) {
		t.Helper()
		frontends, backends := counts(t, node)
		if n := frontends["203.0.113.20:80/TCP"]; n != frontend {
			t.Errorf("frontend: %d connections, want %d (%v)", n, frontend, frontends)
		}
		if n := backends[lab.Host("a1").Addrs()[0].String()+":8080"]; a1 != 0 && n != a1 {
			t.Errorf("backend: %d connections, want %d (%v)", n, a1, backends)
		}
	}
	expect(0, 0)
	connect(5)
	expect(5, 5)

	n := w.count()
	f.apply(sliceUpdate(webSlice(lab, "a1", "a2", "b1"))) // another class: the verdict is replaced
	w.wait(t, n)
	expect(5, 5)
	connect(6)
	expect(11, 0)

	stop()
	other := config
	other.Counters = ruleset.CountServices // the table is replaced
	second := newFeed(firstUpdate(webService(), webSlice(lab, "a1", "a2", "b1")))
	again := startUntil(t, t.Context(), node, other, second)
	<-again.settled
	frontends, backends := counts(t, node)
	if frontends["203.0.113.20:80/TCP"] != 11 || len(backends) != 0 {
		t.Errorf("with another level: %v, %v", frontends, backends)
	}
}

// TestCountersOff: nothing counts.
func TestCountersOff(t *testing.T) {
	lab := newLab(t)
	config := nodeConfig()
	config.Counters = ruleset.CountNothing
	w := start(t, lab.Host("node-a"), config, newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1"))))
	<-w.settled
	if frontends, backends := counts(t, lab.Host("node-a")); len(frontends)+len(backends) != 0 {
		t.Errorf("%v, %v", frontends, backends)
	}
}

// busy is a kernel in which somebody commits whenever a set is read.
type busy struct{ *kernel.Conn }

func (b busy) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (uint32, error) {
	if _, err := b.Conn.ReadSet(table, set, visit); err != nil {
		return 0, err
	}
	return 0, kernel.ErrInterrupted
}

// TestReadingABusyTable: who asks gets an answer, as good as it can be.
func TestReadingABusyTable(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1", "b1"))))
	<-w.settled
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	servedBy(t, lab.Host("client"), protocols[0], netip.MustParseAddrPort("203.0.113.20:80"), 3)
	quiet, err := proxy.ReadCountedFrontends("kube-vmap", conn)
	if err != nil || len(quiet.List) == 0 {
		t.Fatal(quiet, err)
	}
	read, err := proxy.ReadCountedFrontends("kube-vmap", busy{conn})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(quiet, read, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
