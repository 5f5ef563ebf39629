package proxy_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
	"github.com/kube-vmap/kube-vmap/proxy/trace"
)

// traced follows the connections that connect makes.
func traced(t *testing.T, node *testnet.Host, q explain.Query, n int, connect func()) []*trace.Packet {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var packets []*trace.Packet
	connected := make(chan struct{})
	_, err = trace.Run(ctx, conn, trace.Options{
		Query: q, Count: n, Table: "kube-vmap", Ready: func() {
			go func() {
				defer close(connected)
				connect()
				if n == 0 {
					cancel()
				}
			}()
		},
		Visit: func(p *trace.Packet) error {
			packets = append(packets, p)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-connected
	return packets
}

// TestTrace: the way of a packet from outside, and nothing of others; the table
// goes.
func TestTrace(t *testing.T) {
	lab := newLab(t)
	node, client := lab.Host("node-a"), lab.Host("client")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	<-w.settled
	query := explain.Query{To: model.FrontendKey{Addr: netip.MustParseAddr("203.0.113.20"), Port: 80, Protocol: model.TCP}, From: client.Addrs()[0]}
	packets := traced(t, node, query, 1, func() {
		lab.Host("a2").Probe(model.TCP, netip.MustParseAddrPort("203.0.113.20:80")) // from elsewhere
		client.Probe(model.TCP, netip.MustParseAddrPort("203.0.113.10:80"))         // to elsewhere
		client.Probe(model.TCP, netip.MustParseAddrPort("203.0.113.20:80"))
	})
	if len(packets) != 1 || !strings.HasSuffix(packets[0].Flow, " -> 203.0.113.20:80/TCP") || !strings.HasPrefix(packets[0].Flow, query.From.String()) {
		t.Fatalf("%+v", packets)
	}
	var way []string
	for _, s := range packets[0].Steps {
		way = append(way, s.Chain+": "+s.Rule+" "+s.Verdict)
		if strings.Contains(s.Rule, "handle") {
			t.Errorf("the text of a rule is not known: %+v", s)
		}
	}
	for _, want := range []string{
		"nat-prerouting: jump services jump services",
		"services: ip daddr . meta l4proto . th dport vmap @services4 goto external-lb4-1",
		"external-lb4-1: goto lb4-1 goto lb4-1",
		"lb4-1: dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @backends4 accept",
	} {
		if !slices.Contains(way, want) {
			t.Errorf("the way lacks %q:\n%s", want, strings.Join(way, "\n"))
		}
	}
	if !slices.ContainsFunc(packets[0].Steps, func(s trace.Step) bool { return strings.HasSuffix(s.Flow, ":8080/TCP") }) {
		t.Errorf("no step shows the backend: %+v", packets[0].Steps)
	}
	if tables, _ := node.Run("nft", "list", "tables"); strings.Contains(tables, trace.TableName) {
		t.Errorf("left: %s", tables)
	}
}

// TestTraceShowsTheBackend also where no rule matches a packet that has been
// translated.
func TestTraceShowsTheBackend(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	<-w.settled
	query := explain.Query{To: model.FrontendKey{Addr: netip.MustParseAddr("10.96.0.10"), Port: 80, Protocol: model.TCP}}
	packets := traced(t, node, query, 1, func() {
		lab.Host("a2").Probe(model.TCP, netip.MustParseAddrPort("10.96.0.10:80"))
	})
	if len(packets) != 1 || !slices.ContainsFunc(packets[0].Steps, func(s trace.Step) bool { return strings.HasSuffix(s.Flow, ":8080/TCP") }) {
		t.Errorf("no step shows the backend: %+v", packets)
	}
}

// TestTraceIsInterrupted: what came so far is told, and the table goes, also one
// that somebody left.
func TestTraceIsInterrupted(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	<-w.settled
	if _, err := node.Run("nft", "add table inet "+trace.TableName); err != nil {
		t.Fatal(err)
	}
	query := explain.Query{To: model.FrontendKey{Addr: netip.MustParseAddr("fd00:10:96::10"), Port: 80, Protocol: model.UDP}}
	packets := traced(t, node, query, 0, func() {
		for range 2 {
			lab.Host("a2").Probe(model.UDP, netip.MustParseAddrPort("[fd00:10:96::10]:80"))
		}
	})
	if len(packets) == 0 || !strings.HasSuffix(packets[0].Flow, "[fd00:10:96::10]:80/UDP") {
		t.Errorf("%+v", packets)
	}
	if tables, _ := node.Run("nft", "list", "tables"); strings.Contains(tables, trace.TableName) {
		t.Errorf("left: %s", tables)
	}
}
