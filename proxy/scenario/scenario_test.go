package scenario

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// TestMain lets more scenarios run at a time than there are processors: most of
// their time they wait for silence.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// TestScenario holds the proxy to each file of testdata.
func TestScenario(t *testing.T) {
	for _, s := range loadScenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			defer s.save(t)
			t.Run("rendered", s.testRendered)
			t.Run("live", s.testLive)
			t.Run("orders", s.testOrders)
		})
	}
}

// beginning is what a node's proxy starts with.
func (s *scenario) beginning(t *testing.T, node string) *world {
	t.Helper()
	w := newWorld(&s.config, node)
	w.apply(clusterObjects(t, s)...)
	w.apply(s.steps[0].objects...)
	return w
}

// testRendered computes the table of the first step from nothing, as the first
// node that runs a proxy wants it.
func (s *scenario) testRendered(t *testing.T) {
	node := s.config.Proxies[0]
	config := s.config.proxy(node)
	empty := newWorld(&s.config, node)
	empty.apply(clusterObjects(t, nil)...)
	table, without := proxy.Render(config, s.beginning(t, node).all), proxy.Render(config, empty.all)
	s.golden(t, 1, elementsSection, elementsText(table, without))
}

// changes are the objects that change and go.
func (s *step) changes() []object { return append(s.deleted, s.objects...) }

// testLive runs the scenario with real proxies, a real kernel and real packets.
func (s *scenario) testLive(t *testing.T) {
	lab := newLab(t)
	var proxies []*live
	for _, node := range s.config.Proxies {
		l := newLive(t, lab.Host(node).FD(), s.config.proxy(node), s.beginning(t, node))
		l.serveHealth(t, lab.Host(node))
		proxies = append(proxies, l)
	}
	for _, step := range s.steps {
		if t.Failed() {
			return // one cause, not one report per step
		}
		s.runStep(t, lab, proxies, step)
	}
	for _, l := range proxies {
		l.restart(t)
	}
}

func (s *scenario) runStep(t *testing.T, lab *testnet.Lab, proxies []*live, step *step) {
	addrs := hostAddresses(lab, proxies)
	for _, do := range step.net {
		if err := do(lab); err != nil {
			t.Fatal(err)
		}
	}
	now := hostAddresses(lab, proxies)
	for i, l := range proxies {
		if step.number == 1 {
			l.start(t)
		}
		l.addrs.await(t, now[i], without(addrs[i], now[i]))
		l.await(t)
		if step.number > 1 {
			l.apply(step.changes()...)
			l.await(t)
		}
		l.settle(t)
		txs, events := l.kernel.take(), l.events.take()
		if step.number > 1 && i == 0 {
			s.golden(t, step.number, transactionsSection, transactionsText(txs))
		}
		if i == 0 {
			s.golden(t, step.number, eventsSection, events)
		}
		l.checkKernel(t, lab.Host(l.world.node))
		l.awaitBindings(t)
	}
	sendPackets(t, lab, step.packets)
}

// hostAddresses are the addresses of eth0 of each proxy's node.
func hostAddresses(lab *testnet.Lab, proxies []*live) [][]netip.Addr {
	list := make([][]netip.Addr, len(proxies))
	for i, l := range proxies {
		list[i] = lab.Host(l.world.node).Addrs()
	}
	return list
}

func without(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(others, a) })
}
