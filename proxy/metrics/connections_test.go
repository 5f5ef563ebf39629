package metrics_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// kernel stands for the counters that a collector reads.
type kernel struct {
	readings []metrics.Reading
	err      error
}

func (k *kernel) read(visit func(metrics.Reading)) error {
	for _, r := range k.readings {
		visit(r)
	}
	return k.err
}

func (k *kernel) set(readings ...metrics.Reading) { k.readings = readings }

func reading(service, addr string, connections uint64) metrics.Reading {
	return metrics.Reading{
		ServicePort: model.ServicePortName{
			Service: model.ServiceName{Namespace: "shop", Name: service}, Port: "http", Protocol: model.TCP,
		},
		Frontend:    model.FrontendKey{Addr: netip.MustParseAddr(addr), Port: 80, Protocol: model.TCP},
		Connections: connections,
	}
}

func sample(service string, connections int) string {
	return fmt.Sprintf(`kube_vmap_service_port_connections_total{namespace="shop",port="http",protocol="TCP",service=%q} %d`,
		service, connections)
}

func withCollector(limit int) (*metrics.Metrics, *kernel) {
	m, k := metrics.New(metrics.Options{}), &kernel{}
	m.Register(metrics.NewConnections(metrics.ConnectionsOptions{Read: k.read, ServicePorts: limit, Endpoints: limit}))
	return m, k
}

func expectExactly(t *testing.T, m *metrics.Metrics, leftOut int, want ...string) {
	t.Helper()
	lines := scrape(t, m)
	got := withPrefix(lines, "kube_vmap_service_port_connections_total")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	expect(t, lines, fmt.Sprintf(`kube_vmap_connections_left_out{of="service ports"} %d`, leftOut))
}

func TestConnectionsAddUpFrontends(t *testing.T) {
	m, k := withCollector(10)
	k.set(reading("cart", "10.96.0.1", 5), reading("cart", "fd00::1", 2), reading("pay", "10.96.0.2", 1))
	expectExactly(t, m, 0, sample("cart", 7), sample("pay", 1))
	k.set(reading("cart", "10.96.0.1", 6), reading("cart", "fd00::1", 4), reading("pay", "10.96.0.2", 1))
	expectExactly(t, m, 0, sample("cart", 10), sample("pay", 1))
}

// A replaced element counts from 0 again; the sum must go on, for Prometheus would
// take a smaller sum for a restart and count all of it again.
func TestConnectionsGrowWhenElementsAreReplaced(t *testing.T) {
	m, k := withCollector(10)
	k.set(reading("cart", "10.96.0.1", 50), reading("cart", "10.96.0.9", 100))
	expectExactly(t, m, 0, sample("cart", 150))
	k.set(reading("cart", "10.96.0.1", 3), reading("cart", "10.96.0.9", 101))
	expectExactly(t, m, 0, sample("cart", 154))
	k.set(reading("cart", "10.96.0.9", 102)) // a frontend went, or was missed
	expectExactly(t, m, 0, sample("cart", 155))
	k.set(reading("cart", "10.96.0.1", 4), reading("cart", "10.96.0.9", 102)) // and is there again
	expectExactly(t, m, 0, sample("cart", 156))
	k.set(reading("pay", "10.96.0.1", 7), reading("cart", "10.96.0.9", 102)) // with another owner
	expectExactly(t, m, 0, sample("pay", 7), sample("cart", 156))
	k.set()
	expectExactly(t, m, 0, sample("pay", 7), sample("cart", 156))
	expectExactly(t, m, 0, sample("pay", 7), sample("cart", 156))
	expectExactly(t, m, 0)
}

// Slots count for the endpoint that is in them.
func TestConnectionsPerEndpoint(t *testing.T) {
	m, k := withCollector(2)
	slot := func(slot uint32, backend string, connections uint64) metrics.Reading {
		r := reading("", "10.96.0.1", connections)
		r.ServicePort, r.Slot, r.Backend = model.ServicePortName{}, slot, netip.MustParseAddrPort(backend)
		return r
	}
	series := func(endpoint string, connections int) string {
		return fmt.Sprintf(`kube_vmap_endpoint_connections_total{endpoint=%q,namespace="shop",port="http",protocol="TCP",service="cart"} %d`,
			endpoint, connections)
	}
	k.set(reading("cart", "10.96.0.1", 10), slot(0, "10.1.0.1:80", 6), slot(1, "10.1.0.2:80", 4))
	expect(t, scrape(t, m), series("10.1.0.1:80", 6), series("10.1.0.2:80", 4))
	local := slot(1, "10.1.0.2:80", 2)
	local.IsLocal = true
	k.set(reading("cart", "10.96.0.1", 12), slot(0, "10.1.0.1:80", 6), slot(1, "10.1.0.2:80", 4), local)
	expect(t, scrape(t, m), series("10.1.0.1:80", 6), series("10.1.0.2:80", 6))
	k.set(reading("cart", "10.96.0.1", 13), slot(0, "10.1.0.2:80", 3)) // it moved
	expect(t, scrape(t, m), series("10.1.0.1:80", 6), series("10.1.0.2:80", 9))
	k.set(reading("cart", "10.96.0.1", 13), slot(0, "10.1.0.2:80", 3), slot(1, "10.1.0.3:80", 9))
	expect(t, scrape(t, m), series("10.1.0.1:80", 6), series("10.1.0.2:80", 9), `kube_vmap_connections_left_out{of="endpoints"} 1`)
}

// Scrapes that come fast get what was read before.
func TestConnectionsAreReadForAShareOfTheTime(t *testing.T) {
	k := &kernel{}
	reads := 0
	m := metrics.New(metrics.Options{})
	m.Register(metrics.NewConnections(metrics.ConnectionsOptions{
		Read: func(visit func(metrics.Reading)) error {
			reads++
			time.Sleep(time.Millisecond)
			return k.read(visit)
		},
		ServicePorts: 10, Share: 1_000_000,
	}))
	k.set(reading("cart", "10.96.0.1", 5))
	for range 3 {
		expectExactly(t, m, 0, sample("cart", 5))
	}
	if reads != 1 {
		t.Errorf("%d reads", reads)
	}
}

func TestConnectionsSurviveAFailedRead(t *testing.T) {
	m, k := withCollector(10)
	k.set(reading("cart", "10.96.0.1", 5), reading("pay", "10.96.0.2", 6))
	expectExactly(t, m, 0, sample("cart", 5), sample("pay", 6))
	k.set(reading("cart", "10.96.0.1", 7))
	k.err = errors.New("interrupted")
	if got := withPrefix(scrape(t, m), "kube_vmap_service_port"); got != nil {
		t.Errorf("exported %q from half of a read", got)
	}
	k.err = nil
	k.set(reading("cart", "10.96.0.1", 8), reading("pay", "10.96.0.2", 6))
	expectExactly(t, m, 0, sample("cart", 8), sample("pay", 6))
}

func TestConnectionsAreLimited(t *testing.T) {
	m, k := withCollector(2)
	k.set(reading("a", "10.96.0.1", 1), reading("b", "10.96.0.2", 3), reading("c", "10.96.0.3", 2))
	expectExactly(t, m, 1, sample("b", 3), sample("c", 2))
	// The choice stands while both exist, whatever the others do.
	k.set(reading("a", "10.96.0.1", 100), reading("b", "10.96.0.2", 3), reading("c", "10.96.0.3", 2))
	expectExactly(t, m, 1, sample("b", 3), sample("c", 2))
	k.set(reading("a", "10.96.0.1", 100), reading("b", "10.96.0.2", 3))
	scrape(t, m)
	scrape(t, m)
	expectExactly(t, m, 0, sample("a", 100), sample("b", 3))
}
