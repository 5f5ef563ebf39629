package metrics

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Reading is the counter of one element of a map: of a frontend, or of one of its
// slots.
type Reading struct {
	Frontend    model.FrontendKey
	ServicePort model.ServicePortName // of a frontend's element
	Slot        uint32                // of a slot's element,
	Backend     model.Backend         // and whom it leads to; the zero Backend: not a slot
	IsLocal     bool                  // a slot of those for clients outside the cluster
	Connections uint64                // new connections since the element was made
}

// ConnectionsOptions are the options of NewConnections.
type ConnectionsOptions struct {
	// Read visits the reading of each element, those of frontends before those of
	// their slots. One call at a time, from any goroutine. It may miss elements now
	// and then, or visit them twice.
	Read func(visit func(Reading)) error

	// ServicePorts and Endpoints are how many series are exported at most. Of more,
	// those with the most connections at the time there is room; one that is
	// exported stays so while it exists, since a series that comes and goes is of no
	// use.
	ServicePorts, Endpoints int

	// Share bounds the cost: reading takes at most one part in so many of the time,
	// and scrapes that come earlier get what was read last. 0: no bound.
	Share int
}

// Connections is a collector of the new connections per service port, and per
// endpoint where those are counted. It reads the counters of elements when it is
// collected, and adds up what came since it read last: an element that was replaced
// may begin anew at 0, and the metric still only grows.
type Connections struct {
	options      ConnectionsOptions
	servicePorts *prometheus.Desc
	endpoints    *prometheus.Desc
	leftOut      *prometheus.Desc

	mu       sync.Mutex // scrapes may overlap
	nextRead time.Time
	ports    sums[model.ServicePortName]
	backends sums[servicePortEndpoint]
}

type servicePortEndpoint struct {
	port    model.ServicePortName
	backend model.Backend
}

// NewConnections makes a collector.
func NewConnections(o ConnectionsOptions) *Connections {
	labels := []string{"namespace", "service", "port", "protocol"}
	return &Connections{
		options: o,
		servicePorts: prometheus.NewDesc("kube_vmap_service_port_connections_total",
			"New connections to a service port through any of its frontends on this node.", labels, nil),
		endpoints: prometheus.NewDesc("kube_vmap_endpoint_connections_total",
			"New connections that were led to an endpoint of a service port on this node, with --counters=endpoints.",
			append(labels, "endpoint"), nil),
		leftOut: prometheus.NewDesc("kube_vmap_connections_left_out",
			"Service ports and endpoints without a series of their connections, since there are more than the limit.",
			[]string{"of"}, nil),
		ports:    newSums[model.ServicePortName](o.ServicePorts),
		backends: newSums[servicePortEndpoint](o.Endpoints),
	}
}

// Describe implements prometheus.Collector.
func (c *Connections) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.servicePorts
	ch <- c.endpoints
	ch <- c.leftOut
}

// Collect implements prometheus.Collector.
func (c *Connections) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readIfDue(time.Now()); err != nil {
		ch <- prometheus.NewInvalidMetric(c.servicePorts, err)
		return
	}
	c.ports.visit(func(name model.ServicePortName, total uint64) {
		ch <- prometheus.MustNewConstMetric(c.servicePorts, prometheus.CounterValue, float64(total),
			name.Service.Namespace, name.Service.Name, name.Port, name.Protocol.String())
	})
	c.backends.visit(func(e servicePortEndpoint, total uint64) {
		ch <- prometheus.MustNewConstMetric(c.endpoints, prometheus.CounterValue, float64(total),
			e.port.Service.Namespace, e.port.Service.Name, e.port.Port, e.port.Protocol.String(), e.backend.String())
	})
	ch <- prometheus.MustNewConstMetric(c.leftOut, prometheus.GaugeValue, float64(c.ports.leftOut()), "service ports")
	ch <- prometheus.MustNewConstMetric(c.leftOut, prometheus.GaugeValue, float64(c.backends.leftOut()), "endpoints")
}

// readIfDue reads the counters, unless that was done too shortly before.
func (c *Connections) readIfDue(now time.Time) error {
	if now.Before(c.nextRead) {
		return nil
	}
	c.ports.begin()
	c.backends.begin()
	if err := c.options.Read(c.add); err != nil {
		return err
	}
	c.ports.end(compareServicePorts)
	c.backends.end(compareEndpoints)
	end := time.Now()
	c.nextRead = end.Add(end.Sub(now) * time.Duration(c.options.Share))
	return nil
}

// add takes one reading into account.
func (c *Connections) add(r Reading) {
	if !r.Backend.IsValid() {
		c.ports.add(r.ServicePort, elementKey{frontend: r.Frontend}, r.Connections)
		return
	}
	if port, ok := c.ports.owner(elementKey{frontend: r.Frontend}); ok {
		c.backends.add(servicePortEndpoint{port, r.Backend}, elementKey{r.Frontend, r.Slot, r.IsLocal}, r.Connections)
	}
}

func compareServicePorts(a, b model.ServicePortName) int {
	return cmp.Or(a.Service.Compare(b.Service), strings.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

func compareEndpoints(a, b servicePortEndpoint) int {
	return cmp.Or(compareServicePorts(a.port, b.port), a.backend.Compare(b.backend))
}
