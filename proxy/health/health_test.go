package health_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// newLab has one node, dual stack, and a client outside.
func newLab(t *testing.T) (node, client *testnet.Host) {
	t.Helper()
	lab := testnet.ForTest(t, testnet.Topology{
		Gateways: testnet.Prefixes("192.0.2.1/24", "2001:db8:2::1/64"),
		Nodes:    []testnet.Node{{Name: "node", Addrs: testnet.Prefixes("192.0.2.10/24", "2001:db8:2::10/64")}},
		Clients:  []testnet.Client{{Name: "client", Addrs: testnet.Prefixes("192.0.2.99/24", "2001:db8:2::99/64")}},
	})
	return lab.Host("node"), lab.Host("client")
}

var (
	node4 = netip.MustParseAddr("192.0.2.10")
	node6 = netip.MustParseAddr("2001:db8:2::10")
)

// running is what a test runs: servers, and what they reported.
type running struct {
	*health.Servers
	State *health.State
	Ended chan error // what Run returned

	mu       sync.Mutex
	failures []*health.BindError
}

// run starts servers that end with the test.
func run(t *testing.T, o health.Options) *running {
	t.Helper()
	r := &running{State: health.NewState(time.Minute), Ended: make(chan error, 1)}
	o.State, o.BindFailed, o.Log = r.State, r.bindFailed, logr.Discard()
	r.Servers = health.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Ended <- r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *running) bindFailed(err *health.BindError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, err)
}

// reported are the failures so far.
func (r *running) reported() []*health.BindError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*health.BindError(nil), r.failures...)
}

// hang makes the proxy unhealthy: a change has waited for an hour.
func (r *running) hang() {
	r.State.Began(time.Now())
	r.State.Synced(time.Now())
	r.State.Queued(time.Now().Add(-time.Hour))
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// get is one answer over a connection of its own, from a host.
type got struct {
	status int
	header http.Header
	body   string
}

func (g *got) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(g.body), &v); err != nil {
		t.Fatalf("%q: %v", g.body, err)
	}
	return v
}

func httpClient(from *testnet.Host) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return from.DialContext(ctx, network, address)
		},
	}}
}

func tryGet(c *http.Client, url string) (*got, error) {
	resp, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &got{status: resp.StatusCode, header: resp.Header, body: string(body)}, err
}

// get asks until there is an answer: servers may still be starting.
func get(t *testing.T, from *testnet.Host, url string) *got {
	t.Helper()
	c := httpClient(from)
	defer c.CloseIdleConnections()
	var g *got
	eventually(t, "an answer of "+url, func() bool {
		var err error
		g, err = tryGet(c, url)
		return err == nil
	})
	return g
}

// refused waits until nobody listens any more.
func refused(t *testing.T, from *testnet.Host, address string) {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	eventually(t, address+" is refused", func() bool {
		return from.Probe(testnet.TCP, at).Kind == testnet.Refused
	})
}
