package metrics

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Reading is the counter of one frontend's element.
type Reading struct {
	ServicePort model.ServicePortName
	Frontend    model.FrontendKey
	Connections uint64 // new connections since the element was made
}

// Connections is a collector of the new connections per service port. It reads
// the counters of the frontends' elements when it is collected, and adds up what
// came since it read last: an element that was replaced begins anew at 0, and the
// metric still only grows.
type Connections struct {
	read        func(visit func(Reading)) error
	limit       int
	connections *prometheus.Desc
	leftOut     *prometheus.Desc

	mu        sync.Mutex // scrapes may overlap
	round     uint64
	frontends map[model.FrontendKey]*frontendCount
	ports     map[model.ServicePortName]*portCount
}

type frontendCount struct {
	port  model.ServicePortName
	last  uint64
	round uint64
}

type portCount struct {
	total    uint64
	exported bool
	round    uint64
}

// NewConnections makes a collector that reads with read, which visits each
// frontend once, from any goroutine, one call at a time. It exports at most limit
// service ports: of more, those with the most connections at the time there is
// room. One that is exported stays so while it exists, since a series that comes
// and goes is of no use.
func NewConnections(read func(visit func(Reading)) error, limit int) *Connections {
	return &Connections{
		read: read, limit: limit,
		connections: prometheus.NewDesc("kube_vmap_service_port_connections_total",
			"New connections to a service port through any of its frontends on this node.",
			[]string{"namespace", "service", "port", "protocol"}, nil),
		leftOut: prometheus.NewDesc("kube_vmap_service_ports_left_out",
			"Service ports without a series of kube_vmap_service_port_connections_total, since there are more than the limit.",
			nil, nil),
		frontends: map[model.FrontendKey]*frontendCount{},
		ports:     map[model.ServicePortName]*portCount{},
	}
}

// Describe implements prometheus.Collector.
func (c *Connections) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.connections
	ch <- c.leftOut
}

// Collect implements prometheus.Collector.
func (c *Connections) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	if err := c.read(c.add); err != nil {
		ch <- prometheus.NewInvalidMetric(c.connections, err)
		return
	}
	c.forget()
	c.choose()
	leftOut := 0
	for name, p := range c.ports {
		if !p.exported {
			leftOut++
			continue
		}
		ch <- prometheus.MustNewConstMetric(c.connections, prometheus.CounterValue, float64(p.total),
			name.Service.Namespace, name.Service.Name, name.Port, name.Protocol.String())
	}
	ch <- prometheus.MustNewConstMetric(c.leftOut, prometheus.GaugeValue, float64(leftOut))
}

// add takes one reading into account.
func (c *Connections) add(r Reading) {
	p := c.ports[r.ServicePort]
	if p == nil {
		p = &portCount{}
		c.ports[r.ServicePort] = p
	}
	p.round = c.round
	f := c.frontends[r.Frontend]
	if f == nil {
		f = &frontendCount{port: r.ServicePort}
		c.frontends[r.Frontend] = f
	}
	if f.port != r.ServicePort || r.Connections < f.last {
		*f = frontendCount{port: r.ServicePort} // another element than before
	}
	p.total += r.Connections - f.last
	f.last, f.round = r.Connections, c.round
}

// forget drops what this round has not seen.
func (c *Connections) forget() {
	for k, f := range c.frontends {
		if f.round != c.round {
			delete(c.frontends, k)
		}
	}
	for name, p := range c.ports {
		if p.round != c.round {
			delete(c.ports, name)
		}
	}
}

// choose exports more service ports while there is room.
func (c *Connections) choose() {
	room := c.limit
	var waiting []model.ServicePortName
	for name, p := range c.ports {
		if p.exported {
			room--
		} else {
			waiting = append(waiting, name)
		}
	}
	if room <= 0 {
		return
	}
	slices.SortFunc(waiting, func(a, b model.ServicePortName) int {
		return cmp.Or(cmp.Compare(c.ports[b].total, c.ports[a].total), compareServicePorts(a, b))
	})
	for _, name := range waiting[:min(room, len(waiting))] {
		c.ports[name].exported = true
	}
}

func compareServicePorts(a, b model.ServicePortName) int {
	return cmp.Or(a.Service.Compare(b.Service), strings.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}
