package scenario

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
)

// live is a proxy at work in a network namespace, with what works beside it,
// driven by a scenario's objects.
type live struct {
	netns    int
	config   proxy.Config
	world    *world
	kernel   *recorder
	reader   *kernel.Conn // the test's
	bindings *kernel.Conn // the proxy's
	feed     *feed
	addrs    *hostAddrs
	stop     func()
}

// newLive makes a proxy with the given objects for a network namespace; start
// starts it.
func newLive(t *testing.T, netns int, config proxy.Config, w *world) *live {
	t.Helper()
	dial := func() *kernel.Conn {
		conn, err := kernel.Dial(kernel.Options{NetNS: netns})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
		return conn
	}
	return &live{
		netns: netns, config: config, world: w, reader: dial(), bindings: dial(), addrs: &hostAddrs{},
		kernel: &recorder{Conn: dial(), t: t, changed: make(chan struct{}, 1), adopted: make(chan struct{}, 1)},
	}
}

// start runs the proxy until the test or stop ends it. It begins with the world's
// objects.
func (l *live) start(t *testing.T) {
	t.Helper()
	l.feed = &feed{first: l.world.all, ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	l.addrs.Source = hostaddrs.New(hostaddrs.Options{NetNS: l.netns, Log: logr.Discard()})
	p := proxy.New(l.config, l.kernel, logr.Discard(), l.feed, l.addrs)
	p.EnforceBindings(l.bindings)
	p.CleanFlows(conntrack.New(conntrack.Options{NetNS: l.netns, Log: logr.Discard()}))
	go func() { done <- p.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run proxy: %v", err)
		}
	})
	t.Cleanup(l.stop)
}

// apply changes objects.
func (l *live) apply(objects ...object) {
	l.feed.apply(l.world.apply(objects...))
}

// wanted is the table that the objects ask for, computed from nothing.
func (l *live) wanted() *nft.Table {
	u := l.world.all
	addrs := l.addrs.list()
	u.HostAddrs = &addrs
	return proxy.Render(l.config, u)
}

// await waits until the table is what the objects ask for.
func (l *live) await(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	for {
		diff := compareTables(l.wanted(), l.kernel.table())
		if diff == "" {
			return
		}
		select {
		case <-l.kernel.changed:
		case <-deadline:
			t.Fatalf("the table does not become what is wanted (-want +have):\n%s", diff)
		}
	}
}

// patience is how long to wait for what must come.
const patience = 20 * time.Second

// restart ends the proxy and starts another one on the same table: nothing has
// changed, so nothing may be written. What the new one writes first must be a
// change that comes after it began.
func (l *live) restart(t *testing.T) {
	t.Helper()
	l.stop()
	l.kernel.take()
	select {
	case <-l.kernel.adopted: // the last one's
	default:
	}
	l.start(t)
	<-l.kernel.adopted
	marker := object{
		ref:   model.ObjectRef{Kind: "ServiceCIDR", Name: "marker"},
		value: &networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"198.18.0.0/15", "2001:2::/48"}}},
	}
	l.apply(marker)
	l.await(t)
	for _, tx := range l.kernel.take() {
		for _, line := range tx.Lines() {
			if !strings.HasPrefix(line, "add element inet "+tx.Table.Name+" service-cidrs") {
				t.Errorf("a restart without a change writes: %s", line)
			}
		}
	}
}
