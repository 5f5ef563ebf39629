package proxy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func elementsOf(t *testing.T, table *nft.Table, set string) []nft.Element {
	t.Helper()
	s := table.Set(set)
	if s == nil {
		t.Fatalf("no set %s", set)
	}
	return s.Elements
}

// TestLimits: a Service with 5,000 endpoints, 10,000 source ranges, 1,000
// frontends with affinity and names as long as the API takes them. All are right,
// and a change of another Service costs what it always costs.
func TestLimits(t *testing.T) {
	lab := newLab(t)
	small := otherService("small", "10.96.0.77")
	first := firstUpdate(small, otherSlice(lab, small, "a1"))
	huge := hugeService()
	first.Services[huge.Name] = huge
	slice := hugeSlice(huge, 5000)
	first.Slices[slice.Name] = slice
	sticky := stickyService(1000)
	first.Services[sticky.Name] = sticky
	f := newFeed(first)
	node := lab.Host("node-a")
	w := startUntil(t, t.Context(), node, nodeConfig(), f)
	<-w.settled

	read := table(t, node).Table
	if n := len(elementsOf(t, read, "allowed-sources4")); n != 10000 {
		t.Errorf("%d source ranges, want 10,000", n)
	}
	if n := len(elementsOf(t, read, "learn4")); n != 1000 {
		t.Errorf("%d frontends learn bindings, want 1,000", n)
	}
	if read.Chain("lb4-8192") == nil || len(elementsOf(t, read, "backends4")) != 2*5000+1 {
		t.Errorf("%d backends, chain lb4-8192: %v", len(elementsOf(t, read, "backends4")), read.Chain("lb4-8192"))
	}
	for _, e := range elementsOf(t, read, "services4") {
		if len(e.Comment) > nft.MaxComment || e.Comment == "" {
			t.Errorf("comment of %d bytes: %q", len(e.Comment), e.Comment)
		}
	}
	if _, err := node.Run("nft", "list", "ruleset"); err != nil {
		t.Error(err)
	}
	if problem := answers(node, "10.96.0.77", "a1"); problem != "" {
		t.Error(problem)
	}

	n := w.count()
	f.apply(sliceUpdate(otherSlice(lab, small, "a1", "b1")))
	w.wait(t, n)
	// Class 1 becomes class 2: the chain is there, the verdict is replaced.
	if tx := w.since(n)[0]; tx.ElementCount() > 4 || len(w.since(n)) != 1 {
		t.Errorf("a small change next to huge services: %q", tx.Lines())
	}
	n = w.count()
	f.apply(sliceUpdate(hugeSlice(huge, 4999)))
	w.wait(t, n)
	if tx := w.since(n)[0]; tx.ElementCount() != 2 { // cluster IP and load-balancer IP
		t.Errorf("an endpoint less of 5,000: %d elements", tx.ElementCount())
	}
}

func hugeService() *model.Service {
	svc := &model.Service{
		Name:            model.ServiceName{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("s", 63)},
		ClusterIPs:      []netip.Addr{netip.MustParseAddr("10.96.1.1")},
		LoadBalancerIPs: []netip.Addr{netip.MustParseAddr("203.0.113.50")},
		Ports:           []model.ServicePort{{Name: strings.Repeat("p", 15), Protocol: model.TCP, Port: 80}},
	}
	for i := range 10000 {
		svc.SourceRanges = append(svc.SourceRanges, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 7), byte(i << 1)}), 32))
	}
	return svc
}

func hugeSlice(svc *model.Service, endpoints int) *model.EndpointSlice {
	s := &model.EndpointSlice{
		Name: model.SliceName{Namespace: svc.Name.Namespace, Name: "huge"}, Service: svc.Name,
		Ports: []model.EndpointPort{{Name: svc.Ports[0].Name, Protocol: model.TCP, Port: 8080}},
	}
	for i := range endpoints {
		s.Endpoints = append(s.Endpoints, model.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 250, byte(i >> 8), byte(i)}), Node: "node-c", State: model.Ready | model.Serving,
		})
	}
	return s
}

func stickyService(ports int) *model.Service {
	svc := &model.Service{
		Name: model.ServiceName{Namespace: "shop", Name: "sticky"}, Affinity: time.Hour,
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.1.2")},
	}
	for i := range ports {
		svc.Ports = append(svc.Ports, model.ServicePort{Name: "p" + string(rune('a'+i%26)) + strings.Repeat("x", i/26%10), Protocol: model.TCP, Port: uint16(1000 + i)})
	}
	return svc
}
