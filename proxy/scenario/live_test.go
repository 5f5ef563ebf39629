package scenario

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
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
	events   *events
	health   *health.Servers // nil: none
	state    *health.State
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
		netns: netns, config: config, world: w, reader: dial(), bindings: dial(),
		addrs: &hostAddrs{}, events: &events{},
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
	l.instrument(p)
	go func() { done <- p.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run proxy: %v", err)
		}
	})
	t.Cleanup(l.stop)
}

// instrument connects the proxy with events and, where they are served, health
// checks.
func (l *live) instrument(p *proxy.Proxy) {
	i := proxy.Instruments{Events: l.events}
	if l.health != nil {
		i.Ports, i.Health = l.health, l.state
	}
	p.Instrument(i)
}

// serveHealth answers health-check node ports on a node, until the test ends.
func (l *live) serveHealth(t *testing.T, node *testnet.Host) {
	t.Helper()
	listen := func(network, address string) (ln net.Listener, err error) {
		err = node.Do(func() error {
			ln, err = health.ListenFree(network, address)
			return err
		})
		return ln, err
	}
	l.state = health.NewState(health.DefaultTimeout)
	l.health = health.New(health.Options{State: l.state, Listen: listen, Log: logr.Discard()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.health.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve health checks: %v", err)
		}
	})
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
	want := l.wanted()
	deadline := time.After(patience)
	for {
		differences := rulesettest.Compare(l.kernel.table(), want)
		if len(differences) == 0 {
			return
		}
		select {
		case <-l.kernel.changed:
		case <-deadline:
			t.Fatalf("the table does not become what is wanted:\n%s", strings.Join(differences, "\n"))
		}
	}
}

// patience is how long to wait for what must come.
const patience = 20 * time.Second

// marker is an object that changes nothing but two elements of its own.
var marker = object{
	ref: model.ObjectRef{Kind: source.KindServiceCIDR, Name: "marker"},
	value: &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "marker"},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{"198.18.0.0/15", "2001:2::/48"}},
	},
}

// settle waits until the proxy has nothing to do any more: by a change that
// shows, and its end. The transactions are not taken, see recorder.take.
func (l *live) settle(t *testing.T) {
	t.Helper()
	for _, o := range []object{marker, marker.deletion()} {
		l.apply(o)
		l.await(t)
	}
}

// restart ends the proxy and starts another one on the same table: nothing has
// changed, so nothing may be written.
func (l *live) restart(t *testing.T) {
	t.Helper()
	l.stop()
	l.kernel.take()
	select {
	case <-l.kernel.adopted: // the last one's
	default:
	}
	l.start(t)
	<-l.kernel.adopted // what comes now is another step
	l.settle(t)
	if txs := l.kernel.take(); len(txs) > 0 {
		t.Errorf("a restart without a change writes:\n%s", transactionsText(txs))
	}
}
