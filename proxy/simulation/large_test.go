package simulation

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// loading notes after each transaction whether packets meet the table.
type loading struct {
	*dataplane
	hooked []bool
	second fault // what the second transaction meets
}

func (l *loading) Commit(tx *nft.Transaction) (kernel.Result, error) {
	if len(l.hooked) == 1 {
		l.next = l.second
	}
	result, err := l.dataplane.Commit(tx)
	hooked := false
	for _, c := range l.memory.table.chains {
		hooked = hooked || c.Base != nil
	}
	l.hooked = append(l.hooked, hooked)
	return result, err
}

// largeWorld has more Services than one plan holds, and some frontends that
// Services far from each other want.
func largeWorld(rng *rand.Rand, count int) *world {
	w := newWorld()
	w.node.InternalIPs = nodeAddrs[:1]
	for i := range count {
		s := &model.Service{
			Name: model.ServiceName{Namespace: fmt.Sprintf("ns-%d", i%7), Name: fmt.Sprintf("s-%d", i)},
			UID:  fmt.Sprint(i), Created: time.Unix(rng.Int64N(100), 0),
			ClusterIPs:     []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports:          []model.ServicePort{{Protocol: model.TCP, Port: 80}},
			ExternalPolicy: model.TrafficPolicy(rng.IntN(2)), Affinity: affinities[rng.IntN(len(affinities))],
			SourceRanges: ranges[:rng.IntN(3)],
		}
		if rng.IntN(8) == 0 {
			s.Ports[0].NodePort, s.LoadBalancerIPs = uint16(30000+rng.IntN(200)), externalAddrs[:1+rng.IntN(3)]
		}
		w.services[s.Name] = s
		slice := &model.EndpointSlice{
			Name: model.SliceName{Namespace: s.Name.Namespace, Name: s.Name.Name}, Service: s.Name,
			Ports: []model.EndpointPort{{Protocol: model.TCP, Port: 8080}},
		}
		for range rng.IntN(4) {
			slice.Endpoints = append(slice.Endpoints, model.Endpoint{
				Addr: pod(rng.IntN(5000), true), Node: nodeNames[rng.IntN(len(nodeNames))], State: model.Ready | model.Serving,
			})
		}
		w.slices[slice.Name] = slice
	}
	return w
}

// TestSimulationLarge loads, in several plans, a table into an empty kernel, then
// another over it, with a failure in between.
func TestSimulationLarge(t *testing.T) {
	seed := fromEnv(t, "SIMULATION_SEED", rand.Uint64N(1e9))
	fmt.Printf("Simulation: seed %d\n", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	const count = 2300
	synctest.Test(t, func(t *testing.T) {
		config := proxy.DefaultConfig()
		config.NodeName = "node-a"
		dp := &loading{dataplane: &dataplane{memory: &memory{}}}
		load := func(w *world) {
			t.Helper()
			p := start(config, dp, w.whole())
			time.Sleep(time.Minute)
			p.stop()
			lines := dp.violations
			if len(lines) == 0 {
				lines = rulesettest.Compare(dp.memory.copy(), proxy.Render(config, w.whole()))
			}
			if len(lines) > 0 {
				t.Fatalf("SIMULATION_SEED=%d: %d differences, the first: %s", seed, len(lines), lines[0])
			}
		}
		load(largeWorld(rng, count))
		first := len(dp.hooked)
		if n := len(dp.hooked); n < 3 || dp.hooked[0] || dp.hooked[1] || !dp.hooked[n-1] {
			t.Errorf("packets meet the table too early or never: %v", dp.hooked)
		}
		load(largeWorld(rng, count))
		dp.next, config.AffinitySize = uncertainAfter, 1<<10 // another set: the table is replaced
		load(largeWorld(rng, count))
		load(newWorld())
		for i, hooked := range dp.hooked[first:] {
			if !hooked {
				t.Errorf("transaction %d: the table is out of force", first+i)
			}
		}
		t.Logf("Simulation: seed %d, %d services four times, %d transactions with %d element operations, 0 differences",
			seed, count, dp.commits, dp.operations)
	})
}

// TestSimulationLargeFault loads a table into an empty kernel in several plans, the
// next of which is computed while the kernel takes one, and fails in all ways.
func TestSimulationLargeFault(t *testing.T) {
	for f := rejected; f <= readInterrupted; f++ {
		w := largeWorld(rand.New(rand.NewPCG(uint64(f), 1)), 1100)
		synctest.Test(t, func(t *testing.T) {
			config := proxy.DefaultConfig()
			config.NodeName = "node-a"
			dp := &loading{dataplane: &dataplane{memory: &memory{}}, second: f}
			p := start(config, dp, w.whole())
			time.Sleep(time.Minute)
			p.stop()
			lines := dp.violations
			if len(lines) == 0 {
				lines = rulesettest.Compare(dp.memory.copy(), proxy.Render(config, w.whole()))
			}
			if len(lines) > 0 {
				t.Errorf("fault %d: %d differences, the first: %s", f, len(lines), lines[0])
			}
			if len(dp.hooked) < 2 {
				t.Errorf("fault %d was not met: %d transactions", f, len(dp.hooked))
			}
		})
	}
}
