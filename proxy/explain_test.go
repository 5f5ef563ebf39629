package proxy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// explained explains on a node, with the running proxy's objects.
func explained(t *testing.T, w *watched, node *testnet.Host, q explain.Query) explain.Answer {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	host, err := proxy.Collect(t.Context(), hostaddrs.New(hostaddrs.Options{NetNS: node.FD(), Log: logr.Discard()}))
	if err != nil {
		t.Fatal(err)
	}
	table, err := proxy.ReadKernel("kube-vmap", conn, q, *host.HostAddrs)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := w.proxy.Objects(t.Context(), q.To)
	if err != nil {
		t.Fatal(err)
	}
	return explain.Explain(q, &table, &objects)
}

// explainCase is a Service with its endpoints, and what is said of it.
type explainCase struct {
	name   string
	change func(svc *model.Service, slice *model.EndpointSlice)
	pods   []string
	asked  []explainQuestion
}

// explainQuestion is a connection. The packet decides whether the verdict is right.
type explainQuestion struct {
	from, to string
	says     string // part of the summary
}

func unready(_ *model.Service, slice *model.EndpointSlice) {
	for i := range slice.Endpoints {
		slice.Endpoints[i].State = 0
	}
}

var explainCases = []explainCase{
	{"a working service", nil, []string{"a1", "b1"}, []explainQuestion{
		{"a1", "10.96.0.10:80", "shop/web:TCP has 2 usable endpoints; each connection gets one at random"},
		{"node-a", "[fd00:10:96::10]:80", "2 usable endpoints"},
		{"client", "192.0.2.10:30080", "are forwarded: shop/web:TCP has 2"},
		{"client", "203.0.113.10:80", "forwarded"},
	}},
	{"without endpoints", nil, nil, []explainQuestion{
		{"a1", "10.96.0.10:80", "are refused, since shop/web:TCP has no endpoints."},
		{"client", "203.0.113.20:80", "are refused, since shop/web:TCP has no endpoints."},
	}},
	{"with unready endpoints only", unready, []string{"a1", "b1"}, []explainQuestion{
		{"a1", "10.96.0.10:80", "are refused, since none of the 2 endpoints of shop/web:TCP is ready."},
		{"node-a", "[fd00:10:96::10]:80", "none of the 2 endpoints"},
	}},
	{"with one unready endpoint", unready, []string{"a1"}, []explainQuestion{
		{"a1", "10.96.0.10:80", "since the only endpoint of shop/web:TCP is unusable: it is not ready."},
	}},
	{
		"external policy Local without local endpoints",
		func(svc *model.Service, _ *model.EndpointSlice) { svc.ExternalPolicy = model.PolicyLocal },
		[]string{"b1", "b2"}, []explainQuestion{
			{"client", "203.0.113.20:80", "are dropped, since externalTrafficPolicy of shop/web is Local, and no usable endpoint is on this node (on others: 2)."},
			{"a1", "203.0.113.20:80", "are forwarded: shop/web:TCP has 2 usable endpoints"},
			{"node-a", "203.0.113.10:80", "forwarded"},
		},
	},
	{
		"external policy Local with local endpoints",
		func(svc *model.Service, _ *model.EndpointSlice) { svc.ExternalPolicy = model.PolicyLocal },
		[]string{"a1", "b2"}, []explainQuestion{
			{"client", "[2001:db8:113::20]:80", "has 1 usable endpoint on this node"},
			{"a2", "203.0.113.20:80", "has 2 usable endpoints"},
		},
	},
	{
		"internal policy Local without local endpoints",
		func(svc *model.Service, _ *model.EndpointSlice) { svc.InternalPolicy = model.PolicyLocal },
		[]string{"b1"}, []explainQuestion{
			{"a1", "10.96.0.10:80", "are dropped, since internalTrafficPolicy of shop/web is Local"},
			{"client", "203.0.113.10:80", "forwarded"},
		},
	},
	{
		"source ranges",
		func(svc *model.Service, _ *model.EndpointSlice) {
			svc.SourceRanges = testnet.Prefixes("10.244.0.0/16", "2001:db8:ffff::/64")
		},
		[]string{"a1"}, []explainQuestion{
			{"client", "203.0.113.20:80", "are dropped, since loadBalancerSourceRanges of shop/web allow only 10.244.0.0/16."},
			{"a2", "203.0.113.20:80", "forwarded"},
			{"client", "[2001:db8:113::20]:80", "allow only 2001:db8:ffff::/64"},
			{"client", "203.0.113.10:80", "forwarded"},
		},
	},
	{"unused port and addresses", nil, []string{"a1"}, []explainQuestion{
		{"a1", "10.96.0.10:81", "are refused, since 10.96.0.10 is a cluster IP without a port 81/TCP: it has 80/SCTP (shop/web:SCTP), 80/TCP (shop/web:TCP), 80/UDP"},
		{"node-a", "10.96.0.10:81", "are refused"},
		{"a1", "10.96.0.99:80", "are dropped, since no Service has the address 10.96.0.99, which is in the service CIDR 10.96.0.0/16."},
	}},
}

// TestExplain: what is said agrees with what packets meet, for each protocol.
func TestExplain(t *testing.T) {
	for _, test := range explainCases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			lab := newLab(t)
			svc, slice := webService(), webSlice(lab, test.pods...)
			if test.change != nil {
				test.change(svc, slice)
			}
			w := start(t, lab.Host("node-a"), nodeConfig(), newFeed(firstUpdate(svc, slice)))
			<-w.settled
			for _, q := range test.asked {
				checkExplained(t, lab, w, q)
			}
		})
	}
}

func checkExplained(t *testing.T, lab *testnet.Lab, w *watched, q explainQuestion) {
	t.Helper()
	to := netip.MustParseAddrPort(q.to)
	from := lab.Host(q.from).Addrs()
	query := explain.Query{To: model.FrontendKey{Addr: to.Addr(), Port: to.Port(), Protocol: model.TCP}}
	for _, a := range from {
		if a.Is4() == to.Addr().Is4() {
			query.From = a
		}
	}
	answer := explained(t, w, lab.Host("node-a"), query)
	if !strings.Contains(answer.Summary, q.says) {
		t.Errorf("%s -> %s:\n got %s\nwant %s", q.from, q.to, answer.Summary, q.says)
	}
	if len(answer.Outcomes) != 1 || len(answer.Notes) != 0 {
		t.Fatalf("%s -> %s: %+v", q.from, q.to, answer)
	}
	want := map[explain.Verdict]testnet.OutcomeKind{
		explain.Forwarded: testnet.Answered, explain.Refused: testnet.Refused, explain.Dropped: testnet.Silent,
	}[answer.Outcomes[0].Verdict]
	o := lab.Host(q.from).Probe(model.TCP, to)
	if o.Kind != want {
		t.Errorf("%s -> %s: %s, and it is said: %s", q.from, q.to, o, answer.Summary)
	}
	if o.Kind == testnet.Answered && o.Masqueraded() != answer.Outcomes[0].Masqueraded && q.from != "node-a" && o.Server != q.from {
		t.Errorf("%s -> %s: %s, and it is said to be masqueraded: %v", q.from, q.to, o, answer.Outcomes[0].Masqueraded)
	}
}

// TestExplainEndpoints: each endpoint that gets no connections has its reason.
func TestExplainEndpoints(t *testing.T) {
	lab := newLab(t)
	svc, slice := webService(), webSlice(lab, "a1", "a2", "b1", "b2")
	svc.ExternalPolicy = model.PolicyLocal
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		switch ep.Addr {
		case lab.Host("a2").Addrs()[0]:
			ep.State = model.Serving | model.Terminating
		case lab.Host("b2").Addrs()[0]:
			ep.State = 0
		}
	}
	w := start(t, lab.Host("node-a"), nodeConfig(), newFeed(firstUpdate(svc, slice)))
	<-w.settled
	answer := explained(t, w, lab.Host("node-a"), explain.Query{
		To: model.FrontendKey{Addr: netip.MustParseAddr("203.0.113.20"), Port: 80, Protocol: model.UDP},
	})
	got := map[netip.Addr]string{}
	for _, u := range answer.Unused {
		got[u.Address.Addr()] = u.Why
	}
	for pod, want := range map[string]string{
		"a2": "it is terminating, and others are ready",
		"b1": "from outside: it is on node node-b, and policy Local takes only endpoints of this node",
		"b2": "it is not ready",
	} {
		if why := got[lab.Host(pod).Addrs()[0]]; why != want {
			t.Errorf("%s: %q, want %q", pod, why, want)
		}
	}
	if len(got) != 3 || len(answer.Slots) != 2 || len(answer.Local) != 1 {
		t.Errorf("%+v", answer)
	}
}

// TestDifferences: what others did to the table shows, element by element.
func TestDifferences(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	config := nodeConfig()
	config.Repair = proxy.ReportChanges
	w := start(t, node, config, newFeed(firstUpdate(webService(), webSlice(lab, "a1", "b1"))))
	<-w.settled
	expect := func(want string) {
		t.Helper()
		lines, err := w.proxy.Differences(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect("")
	if _, err := node.Run("nft", "delete element inet kube-vmap cluster-ips4 { 10.96.0.10 }"); err != nil {
		t.Fatal(err)
	}
	expect("add element inet kube-vmap cluster-ips4 { 10.96.0.10 }")
	if _, err := node.Run("nft", "delete table inet kube-vmap"); err != nil {
		t.Fatal(err)
	}
	lines, err := w.proxy.Differences(t.Context())
	if err != nil || len(lines) < 50 || lines[0] != "add table inet kube-vmap" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}
