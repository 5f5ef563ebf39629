package ruleset

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// cluster is n services with one cluster IP and some endpoints each.
type cluster struct {
	opts     Options
	loc      Locality
	tracker  *Tracker
	services []*model.Service
	slices   []*model.EndpointSlice
}

func newTestCluster(n, endpoints int) *cluster {
	c := &cluster{opts: DefaultOptions(), loc: Locality{Node: "a"}}
	c.tracker = NewTracker(c.opts)
	for i := range n {
		name := model.ServiceName{Namespace: "bench", Name: fmt.Sprint("service-", i)}
		c.services = append(c.services, &model.Service{
			Name: name, Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80}},
			ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96 + byte(i>>16), byte(i >> 8), byte(i)})},
		})
		c.slices = append(c.slices, testSlice(name, i, endpoints))
		c.set(i)
	}
	c.tracker.Commit(c.tracker.Plan(true))
	return c
}

func testSlice(name model.ServiceName, service, endpoints int) *model.EndpointSlice {
	s := &model.EndpointSlice{Service: name, Ports: []model.EndpointPort{{Protocol: model.TCP, Port: 8080}}}
	for i := range endpoints {
		s.Endpoints = append(s.Endpoints, model.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, byte(service >> 8), byte(service), byte(i + 1)}), Node: "b",
			State: model.Ready | model.Serving,
		})
	}
	return s
}

func (c *cluster) set(i int) {
	c.tracker.Set(c.services[i].Name, Desire(c.services[i], c.slices[i:i+1], &c.loc, &c.opts))
}

// change gives a service one endpoint less or more and plans it.
func (c *cluster) change(i, endpoints int) *Plan {
	c.slices[i] = testSlice(c.services[i].Name, i, endpoints)
	c.set(i)
	return c.tracker.Plan(true)
}

// TestChangeCostsOneElement is a guard that counts instead of timing: a change of
// one endpoint is one element and nothing else, and allocates the same, at 10
// services and at 10,000.
func TestChangeCostsOneElement(t *testing.T) {
	allocations := map[int]float64{}
	for _, n := range []int{10, 10000} {
		c := newTestCluster(n, 10)
		endpoints := 10
		allocations[n] = testing.AllocsPerRun(50, func() {
			endpoints = 21 - endpoints // 11, 10, 11 ...
			p := c.change(n/2, endpoints)
			if len(p.Transactions) != 1 || len(p.Transactions[0].Operations()) != 1 || p.Transactions[0].ElementCount() != 1 {
				t.Fatalf("%d services: %q", n, p.Transactions[0].Lines())
			}
			c.tracker.Commit(p)
		})
	}
	if few, many := allocations[10], allocations[10000]; many > few+2 {
		t.Errorf("a change allocates %.0f times with 10 services and %.0f times with 10,000", few, many)
	}
}

// TestReloadKeepsElements: where the table must be replaced, one transaction
// makes the new one with all elements, also of services that are not set again yet.
func TestReloadKeepsElements(t *testing.T) {
	c := newTestCluster(50, 3)
	want := c.tracker.Table()
	opts := c.opts
	opts.AffinitySize++
	c.tracker.SetOptions(opts)
	c.opts = opts
	c.set(7)
	p := c.tracker.Plan(true)
	if len(p.Transactions) != 1 || !p.Transactions[0].ReplacesTable() {
		t.Fatalf("%d transactions", len(p.Transactions))
	}
	elements := 0
	for _, op := range p.Transactions[0].Operations() {
		if op.Kind == nft.AddElements {
			elements += len(op.Elements)
		}
	}
	c.tracker.Commit(p)
	count := 0
	for _, s := range want.Sets {
		count += len(s.Elements)
	}
	if elements != count || c.tracker.Table().Text() == want.Text() {
		t.Errorf("%d elements loaded into the new table, want %d", elements, count)
	}
	if p := c.tracker.Plan(true); !p.IsEmpty() {
		t.Errorf("after the reload: %q", p.Transactions[0].Lines())
	}
}

// TestLoadInSteps: base chains come last, and nothing is deleted that a service
// to come may want.
func TestLoadInSteps(t *testing.T) {
	c := newTestCluster(0, 0)
	c.tracker.Adopt(nil)
	big := newTestCluster(20, 2)
	for i, svc := range big.services {
		c.tracker.Set(svc.Name, Desire(svc, big.slices[i:i+1], &c.loc, &c.opts))
		last := i == len(big.services)-1
		p := c.tracker.Plan(last)
		for _, tx := range p.Transactions {
			for _, op := range tx.Operations() {
				if op.Kind == nft.AddChain && (op.Chain.Base != nil) != last && op.Chain.Base != nil {
					t.Fatalf("base chain %s in step %d", op.Chain.Name, i)
				}
			}
		}
		c.tracker.Commit(p)
	}
	if got, want := c.tracker.Table().Text(), big.tracker.Table().Text(); got != want {
		t.Errorf("loaded in steps:\n%s\nat once:\n%s", got, want)
	}
}

func BenchmarkDesire(b *testing.B) {
	for _, endpoints := range []int{1, 10, 100, 5000} {
		b.Run(fmt.Sprint(endpoints), func(b *testing.B) {
			c := newTestCluster(1, 0)
			c.slices[0] = &model.EndpointSlice{Ports: c.slices[0].Ports}
			for i := range endpoints {
				c.slices[0].Endpoints = append(c.slices[0].Endpoints, model.Endpoint{
					Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), State: model.Ready | model.Serving,
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				Desire(c.services[0], c.slices[:1], &c.loc, &c.opts)
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1000, 10000, 30000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newTestCluster(n, 10)
			endpoints := 10
			b.ReportAllocs()
			for b.Loop() {
				endpoints = 21 - endpoints
				c.tracker.Commit(c.change(n/2, endpoints))
			}
		})
	}
}
