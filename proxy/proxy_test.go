package proxy_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/go-logr/logr/testr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// feed is a source that a test drives.
type feed struct {
	first model.Update
	late  chan struct{} // if set, the first update is complete when this is closed
	ready chan struct{}
	sink  source.Sink
}

func newFeed(first model.Update) *feed { return &feed{first: first, ready: make(chan struct{})} }

func (f *feed) Run(ctx context.Context, sink source.Sink) error {
	sink.Apply(f.first)
	if f.late != nil {
		<-f.late
	}
	sink.Synced()
	f.sink = sink
	close(f.ready)
	<-ctx.Done()
	return nil
}

func (f *feed) apply(u model.Update) {
	<-f.ready
	f.sink.Apply(u)
}

// watched is a real kernel with the transactions that went through it.
type watched struct {
	*kernel.Conn
	mu    sync.Mutex
	txs   []*nft.Transaction
	reads atomic.Int32 // how often reading the table was begun

	proxy   *proxy.Proxy
	settled chan struct{} // closed when the table is complete
	// fault, if set, may fail a transaction: instead of the commit, or after it.
	fault func(tx *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error)
}

func (w *watched) Commit(tx *nft.Transaction) (kernel.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	commit := func() (kernel.Result, error) { return w.Conn.Commit(tx) }
	var result kernel.Result
	var err error
	if w.fault != nil {
		result, err = w.fault(tx, commit)
	} else {
		result, err = commit()
	}
	w.txs = append(w.txs, tx)
	return result, err
}

func (w *watched) ReadStructure(table string, elements func(string) bool) (kernel.Snapshot, error) {
	w.reads.Add(1)
	return w.Conn.ReadStructure(table, elements)
}

func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.txs)
}

// inject makes transactions fail; nil ends it.
func (w *watched) inject(fault func(*nft.Transaction, func() (kernel.Result, error)) (kernel.Result, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// since returns the transactions from the n-th on.
func (w *watched) since(n int) []*nft.Transaction {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.txs[n:]
}

// wait waits for a transaction beyond the n-th.
func (w *watched) wait(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.count() <= n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no transaction")
		}
	}
}

// start runs a proxy in a node's namespace until the test ends, and waits for
// its first transaction.
func start(t *testing.T, host *testnet.Host, config proxy.Config, f *feed) *watched {
	t.Helper()
	w := startUntil(t, context.Background(), host, config, f)
	w.wait(t, 0)
	return w
}

// startUntil runs a proxy until the context or the test ends.
func startUntil(t *testing.T, ctx context.Context, host *testnet.Host, config proxy.Config, f *feed) *watched {
	t.Helper()
	dial := func() *kernel.Conn {
		conn, err := kernel.Dial(kernel.Options{NetNS: host.FD()})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	w, bindings := &watched{Conn: dial(), settled: make(chan struct{})}, dial()
	p := proxy.New(config, w, log(t, w.settled), f)
	w.proxy = p
	p.EnforceBindings(bindings)
	p.CleanFlows(conntrack.New(conntrack.Options{NetNS: host.FD(), Log: testr.New(t)}))
	p.RepairForeignChanges(w.Conn)
	p.KeepCounters(w.Conn)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		w.Close()
		bindings.Close()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	context.AfterFunc(ctx, func() { <-done })
	return w
}

// log is the test's log. It closes settled when the table is complete.
func log(t *testing.T, settled chan struct{}) logr.Logger {
	inner := testr.NewWithOptions(t, testr.Options{Verbosity: 2})
	return funcr.New(func(prefix, args string) {
		if strings.Contains(args, "table is complete") {
			close(settled)
		}
		inner.Info(prefix + args)
	}, funcr.Options{Verbosity: 2})
}

var web = model.ServiceName{Namespace: "shop", Name: "web"}

// webService has every kind of frontend in both families and for each protocol.
func webService() *model.Service {
	svc := &model.Service{
		Name:            web,
		ClusterIPs:      testnet.Addrs("10.96.0.10", "fd00:10:96::10"),
		ExternalIPs:     testnet.Addrs("203.0.113.10", "2001:db8:113::10"),
		LoadBalancerIPs: testnet.Addrs("203.0.113.20", "2001:db8:113::20"),
	}
	for i, protocol := range protocols {
		svc.Ports = append(svc.Ports, model.ServicePort{
			Name: protocol.String(), Protocol: protocol, Port: 80, NodePort: uint16(30080 + i),
		})
	}
	return svc
}

var protocols = []model.Protocol{model.TCP, model.UDP, model.SCTP}

// webSlice has the pods of both families that are named.
func webSlice(lab *testnet.Lab, pods ...string) *model.EndpointSlice {
	s := &model.EndpointSlice{Name: model.SliceName{Namespace: "shop", Name: "web-1"}, Service: web}
	for _, protocol := range protocols {
		s.Ports = append(s.Ports, model.EndpointPort{Name: protocol.String(), Protocol: protocol, Port: 8080})
	}
	for _, pod := range pods {
		for _, a := range lab.Host(pod).Addrs() {
			s.Endpoints = append(s.Endpoints, model.Endpoint{
				Addr: a, Node: "node-" + pod[:1], State: model.Ready | model.Serving,
			})
		}
	}
	return s
}

func nodeConfig() proxy.Config {
	c := proxy.DefaultConfig()
	c.NodeName = "node-a"
	c.DetectLocal = proxy.DetectNodeCIDR
	return c
}

func firstUpdate(svc *model.Service, slice *model.EndpointSlice) model.Update {
	cidrs := testnet.Prefixes("10.96.0.0/16", "fd00:10:96::/112")
	return model.Update{
		Services: map[model.ServiceName]*model.Service{svc.Name: svc},
		Slices:   map[model.SliceName]*model.EndpointSlice{slice.Name: slice},
		Node: &model.Node{
			Name: "node-a", InternalIPs: testnet.Addrs("192.0.2.10", "2001:db8:2::10"),
			PodCIDRs: testnet.Prefixes("10.244.0.0/24", "fd00:10:244::/64"),
		},
		ServiceCIDRs: &cidrs,
	}
}

func sliceUpdate(s *model.EndpointSlice) model.Update {
	return model.Update{Slices: map[model.SliceName]*model.EndpointSlice{s.Name: s}}
}

// newLab is two nodes whose pods serve port 8080, with the Service's external
// addresses routed to node-a.
func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	lab := testnet.ForTest(t, testnet.TwoNodes())
	for _, pod := range []string{"a1", "a2", "b1", "b2"} {
		for _, protocol := range protocols {
			if _, err := lab.Host(pod).Serve(protocol, 8080); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range testnet.Prefixes("203.0.113.0/24", "2001:db8:113::/64", "10.96.0.0/16", "fd00:10:96::/112") {
		if err := lab.Route(p, lab.Host("node-a")); err != nil {
			t.Fatal(err)
		}
	}
	return lab
}

// TestFrontends probes every kind of frontend, protocol and family from a pod,
// the node and outside, and checks who answers and which address it saw.
func TestFrontends(t *testing.T) {
	lab := newLab(t)
	start(t, lab.Host("node-a"), nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1", "a2", "b1"))))
	for _, from := range []string{"a2", "node-a", "client"} {
		for i, protocol := range protocols {
			nodePort := uint16(30080 + i)
			for kind, to := range map[string][]netip.AddrPort{
				"ClusterIP":    addrPorts(80, "10.96.0.10", "fd00:10:96::10"),
				"NodePort":     addrPorts(nodePort, "192.0.2.10", "2001:db8:2::10"),
				"ExternalIP":   addrPorts(80, "203.0.113.10", "2001:db8:113::10"),
				"LoadBalancer": addrPorts(80, "203.0.113.20", "2001:db8:113::20"),
			} {
				for _, dst := range to {
					o := lab.Host(from).Probe(protocol, dst)
					if o.Kind != testnet.Answered {
						t.Errorf("%s -> %s %s %s: %s", from, protocol, kind, dst, o)
						continue
					}
					// Pods keep their address towards cluster IPs, but for the hairpin.
					keeps := from == "a2" && kind == "ClusterIP" && o.Server != "a2"
					if o.Masqueraded() == keeps && from != "node-a" {
						t.Errorf("%s -> %s %s %s: masqueraded is %v: %s", from, protocol, kind, dst, o.Masqueraded(), o)
					}
				}
			}
		}
	}
}

func addrPorts(port uint16, addrs ...string) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range testnet.Addrs(addrs...) {
		list = append(list, netip.AddrPortFrom(a, port))
	}
	return list
}

// TestBalance: each backend gets its fair share, within what chance explains.
func TestBalance(t *testing.T) {
	lab := newLab(t)
	start(t, lab.Host("node-a"), nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1", "b1", "b2"))))
	for _, dst := range addrPorts(80, "10.96.0.10", "fd00:10:96::10") {
		d := lab.Host("a2").Distribution(model.TCP, dst, 1500)
		if len(d.Failed) > 0 || len(d.Servers) != 3 || d.MaxDeviation() > 0.2 {
			t.Errorf("%s: %+v", dst, d)
		}
	}
}

// TestUnserved: refused and dropped, as the Service's endpoints and policy say.
func TestUnserved(t *testing.T) {
	lab := newLab(t)
	svc := webService()
	svc.ExternalPolicy = model.PolicyLocal
	f := newFeed(firstUpdate(svc, webSlice(lab, "b1")))
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	expect := func(from string, p model.Protocol, dst string, want testnet.OutcomeKind) {
		t.Helper()
		o := lab.Host(from).Probe(p, netip.MustParseAddrPort(dst))
		if o.Kind != want {
			t.Errorf("%s -> %s %s: %s, want %s", from, p, dst, o, want)
		}
	}
	for _, p := range protocols {
		expect("client", p, "203.0.113.20:80", testnet.Silent) // none local
		expect("a1", p, "203.0.113.20:80", testnet.Answered)   // pods take the short circuit
		expect("node-a", p, "[2001:db8:113::20]:80", testnet.Answered)
		expect("a1", p, "10.96.0.10:81", testnet.Refused) // unused port
		expect("node-a", p, "[fd00:10:96::10]:81", testnet.Refused)
		expect("a1", p, "10.96.0.99:80", testnet.Silent) // unallocated
	}
	n := w.count()
	f.apply(sliceUpdate(webSlice(lab)))
	w.wait(t, n)
	for _, p := range protocols {
		for _, from := range []string{"a1", "node-a", "client"} {
			expect(from, p, "203.0.113.20:80", testnet.Refused)
			expect(from, p, "[2001:db8:113::10]:80", testnet.Refused)
			expect(from, p, "10.96.0.10:80", testnet.Refused)
		}
	}
}

// TestOneElement: an endpoint that comes or goes is one element per frontend.
func TestOneElement(t *testing.T) {
	lab := newLab(t)
	svc := webService()
	svc.Ports = svc.Ports[:1]
	f := newFeed(firstUpdate(svc, webSlice(lab, "a1", "a2", "b1")))
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	const frontends = 8 // four kinds in two families
	// b2 comes, which fits into class 4; b1 goes, which is not in slot 0; a change
	// that changes nothing. The endpoints a1 and a2 are in the hairpin set from the start.
	for _, pods := range [][]string{{"a1", "a2", "b1", "b2"}, {"a1", "a2", "b2"}} {
		n := w.count()
		f.apply(sliceUpdate(webSlice(lab, pods...)))
		w.wait(t, n)
		txs := w.since(n)
		if len(txs) != 1 || txs[0].ElementCount() != frontends || len(txs[0].Operations()) != 2 {
			t.Errorf("%v: %d transactions, the first: %q", pods, len(txs), txs[0].Lines())
		}
	}
}

// TestFlood: endpoints come and go under a flood of connections, and none fails.
func TestFlood(t *testing.T) {
	lab := newLab(t)
	f := newFeed(firstUpdate(webService(), webSlice(lab, "a1", "a2", "b1", "b2")))
	config := nodeConfig()
	config.Coalesce = 0
	w := start(t, lab.Host("node-a"), config, f)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var floods []*testnet.Flood
	for _, dst := range []string{"10.96.0.10:80", "[fd00:10:96::10]:80", "192.0.2.10:30080", "[2001:db8:113::20]:80"} {
		floods = append(floods, lab.Host("client").Flood(ctx, testnet.FloodOptions{Dst: netip.MustParseAddrPort(dst)}))
	}
	sets := [][]string{{"a1"}, {"a1", "a2", "b1", "b2"}, {"a2", "b1"}, {"b2"}, {"a1", "b2"}, {"b1"}, {"a1", "a2", "b1"}}
	for i := 0; i < 400; i++ {
		f.apply(sliceUpdate(webSlice(lab, sets[i%len(sets)]...)))
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	for _, flood := range floods {
		r := flood.Wait()
		t.Logf("%d transactions: %s", w.count(), r)
		if r.Failed > 0 || r.Opened == 0 {
			t.Errorf("%+v", r)
		}
	}
}
