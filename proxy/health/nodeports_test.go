package health_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

type services = map[model.ServiceName]health.Service

var (
	cart = model.ServiceName{Namespace: "shop", Name: "cart"}
	pay  = model.ServiceName{Namespace: "shop", Name: "pay"}
)

// expectAnswer asks until the answer of a port is as it should be.
func expectAnswer(t *testing.T, from *testnet.Host, url string, status, local int, name model.ServiceName, healthy bool) {
	t.Helper()
	want := map[string]any{
		"service":        map[string]any{"namespace": name.Namespace, "name": name.Name},
		"localEndpoints": float64(local), "serviceProxyHealthy": healthy,
	}
	c := httpClient(from)
	defer c.CloseIdleConnections()
	var g *got
	var err error
	eventually(t, fmt.Sprintf("%s: %d %v", url, status, want), func() bool {
		g, err = tryGet(c, url)
		return err == nil && g.status == status && cmp.Equal(want, g.json(t))
	})
	if ct, ns, weight := g.header.Get("Content-Type"), g.header.Get("X-Content-Type-Options"),
		g.header.Get("X-Load-Balancing-Endpoint-Weight"); ct != "application/json" || ns != "nosniff" || weight != fmt.Sprint(local) {
		t.Errorf("headers %v", g.header)
	}
}

func TestNodePortAnswers(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{Listen: node.Listen})
	r.SetNodeAddrs([]netip.Addr{node4, node6})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 2}, pay: {Port: 30200}})
	for _, host := range []string{"192.0.2.10", "[2001:db8:2::10]"} {
		expectAnswer(t, client, "http://"+host+":30100/", 200, 2, cart, true)
		expectAnswer(t, client, "http://"+host+":30100/any/path?at=all", 200, 2, cart, true)
		expectAnswer(t, client, "http://"+host+":30200/", 503, 0, pay, true)
	}
	refused(t, node, "127.0.0.1:30100") // not an address that was given

	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 0}, pay: {Port: 30200, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 503, 0, cart, true)
	expectAnswer(t, client, "http://192.0.2.10:30200/", 200, 1, pay, true)

	r.State.SetNodeLeaving(true) // a leaving node still serves its endpoints
	expectAnswer(t, client, "http://192.0.2.10:30200/", 200, 1, pay, true)
	r.hang()
	expectAnswer(t, client, "http://192.0.2.10:30200/", 503, 1, pay, false)
	if failures := r.reported(); failures != nil {
		t.Errorf("reported %v", failures)
	}
}

// keepAlive asks over one connection and fails if it needs another.
type keepAlive struct {
	client *http.Client
	url    string
	asked  bool
}

func (k *keepAlive) ask(t *testing.T) string {
	t.Helper()
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if k.asked && !info.Reused {
			t.Errorf("%s: the connection was dropped", k.url)
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	k.asked = true
	return string(body)
}

func TestPortsComeGoAndMove(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{Listen: node.Listen})
	r.SetNodeAddrs([]netip.Addr{node4})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
	held := &keepAlive{client: httpClient(client), url: "http://192.0.2.10:30100/"}
	held.ask(t)

	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}, pay: {Port: 30200, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30200/", 200, 1, pay, true)
	held.ask(t)

	r.SetServices(services{cart: {Port: 30300, LocalEndpoints: 1}, pay: {Port: 30100, LocalEndpoints: 3}})
	expectAnswer(t, client, "http://192.0.2.10:30300/", 200, 1, cart, true)
	refused(t, client, "192.0.2.10:30200")
	if body := held.ask(t); !strings.Contains(body, `"name":"pay"`) {
		t.Errorf("the moved port answers %q", body)
	}

	r.SetServices(services{cart: {Port: 30300, LocalEndpoints: 1}, pay: {Port: 0, LocalEndpoints: 3}})
	refused(t, client, "192.0.2.10:30100")
	for range 20 { // gone and back: the port must be free when it is bound again
		r.SetServices(nil)
		r.SetServices(services{cart: {Port: 30300, LocalEndpoints: 1}})
	}
	expectAnswer(t, client, "http://192.0.2.10:30300/", 200, 1, cart, true)
	if failures := r.reported(); failures != nil {
		t.Errorf("reported %v", failures)
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{Listen: node.Listen})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}})
	r.SetNodeAddrs([]netip.Addr{node4})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
	refused(t, client, "[2001:db8:2::10]:30100")
	held := &keepAlive{client: httpClient(client), url: "http://192.0.2.10:30100/"}
	held.ask(t)

	if err := node.AddAddr(netip.MustParsePrefix("192.0.2.11/24")); err != nil {
		t.Fatal(err)
	}
	mapped := netip.MustParseAddr("::ffff:192.0.2.10") // the same as node4
	r.SetNodeAddrs([]netip.Addr{mapped, node4, netip.MustParseAddr("192.0.2.11"), node6})
	expectAnswer(t, client, "http://192.0.2.11:30100/", 200, 1, cart, true)
	expectAnswer(t, client, "http://[2001:db8:2::10]:30100/", 200, 1, cart, true)
	r.SetNodeAddrs([]netip.Addr{node4})
	refused(t, client, "192.0.2.11:30100")
	refused(t, client, "[2001:db8:2::10]:30100")
	held.ask(t)
	r.SetNodeAddrs(nil)
	refused(t, client, "192.0.2.10:30100")
	if failures := r.reported(); failures != nil {
		t.Errorf("reported %v", failures)
	}
}

func TestPortInUse(t *testing.T) {
	node, client := newLab(t)
	other, err := node.Listen("tcp4", "192.0.2.10:30100")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, health.Options{Listen: node.Listen})
	r.SetNodeAddrs([]netip.Addr{node4, node6})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}, pay: {Port: 30200, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://[2001:db8:2::10]:30100/", 200, 1, cart, true) // the rest works
	expectAnswer(t, client, "http://192.0.2.10:30200/", 200, 1, pay, true)
	eventually(t, "a report", func() bool { return len(r.reported()) > 0 })
	for n := range 50 { // changes of others tell no more
		r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}, pay: {Port: 30200, LocalEndpoints: n}})
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
	failures := r.reported()
	if len(failures) != 1 {
		t.Fatalf("reported %v, want one failure", failures)
	}
	f := failures[0]
	if f.Service != cart || f.Address != "192.0.2.10:30100" || !errors.Is(f, unix.EADDRINUSE) {
		t.Errorf("%+v", f)
	}
	if msg := f.Error(); !strings.HasPrefix(msg, "serve health checks of Service shop/cart on 192.0.2.10:30100: ") ||
		!strings.Contains(msg, "another spec.healthCheckNodePort") {
		t.Errorf("message %q", msg)
	}
}

func TestTwoServicesWantOnePort(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{Listen: node.Listen})
	r.SetNodeAddrs([]netip.Addr{node4})
	r.SetServices(services{pay: {Port: 30100, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, pay, true)
	// Who has it keeps it.
	r.SetServices(services{pay: {Port: 30100, LocalEndpoints: 2}, cart: {Port: 30100, LocalEndpoints: 5}})
	eventually(t, "a report", func() bool { return len(r.reported()) > 0 })
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 2, pay, true)
	f := r.reported()[0]
	if f.Service != cart || f.Address != ":30100" || !strings.Contains(f.Error(), "belongs to Service shop/pay") {
		t.Errorf("%+v", f)
	}
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 5}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 5, cart, true)
}

// The host's own listeners bind addresses that are not there yet.
func TestListenFree(t *testing.T) {
	node, client := newLab(t)
	later := []netip.Prefix{netip.MustParsePrefix("192.0.2.77/24"), netip.MustParsePrefix("2001:db8:2::77/64")}
	r := run(t, health.Options{Listen: func(network, address string) (ln net.Listener, err error) {
		err = node.Do(func() error {
			ln, err = health.ListenFree(network, address)
			return err
		})
		return ln, err
	}})
	r.SetNodeAddrs([]netip.Addr{later[0].Addr(), later[1].Addr(), node4})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
	for _, p := range later {
		if err := node.AddAddr(p); err != nil {
			t.Fatal(err)
		}
	}
	expectAnswer(t, client, "http://192.0.2.77:30100/", 200, 1, cart, true)
	expectAnswer(t, client, "http://[2001:db8:2::77]:30100/", 200, 1, cart, true)
	if failures := r.reported(); failures != nil {
		t.Errorf("reported %v", failures)
	}
}

// broken is a listener that fails by itself.
type broken struct{ net.Listener }

func (broken) Accept() (net.Conn, error) { return nil, errors.New("broken") }

func TestFailedListenerIsReplaced(t *testing.T) {
	node, client := newLab(t)
	var once sync.Once
	r := run(t, health.Options{Listen: func(network, address string) (net.Listener, error) {
		ln, err := node.Listen(network, address)
		if err == nil {
			once.Do(func() { ln = broken{ln} })
		}
		return ln, err
	}})
	r.SetNodeAddrs([]netip.Addr{node4})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
}

// The loop writes while load balancers ask; for the race detector, and to see
// that no question to a port that stays is lost.
func TestChangesUnderLoad(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{Listen: node.Listen})
	r.SetNodeAddrs([]netip.Addr{node4})
	r.SetServices(services{cart: {Port: 30100, LocalEndpoints: 1}})
	expectAnswer(t, client, "http://192.0.2.10:30100/", 200, 1, cart, true)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			c := httpClient(client)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if g, err := tryGet(c, "http://192.0.2.10:30100/"); err != nil || g.status != http.StatusOK {
					t.Errorf("answer %+v, %v", g, err)
					return
				}
				c.CloseIdleConnections()
			}
		})
	}
	for n := range 300 {
		r.SetServices(services{cart: {Port: 30100, LocalEndpoints: n + 1}, pay: {Port: uint16(30200 + n%3), LocalEndpoints: n}})
		r.State.Queued(time.Now())
		r.State.Began(time.Now())
		r.State.Synced(time.Now())
		time.Sleep(time.Millisecond)
	}
	close(stop)
	asking.Wait()
	if failures := r.reported(); failures != nil {
		t.Errorf("reported %v", failures)
	}
}
