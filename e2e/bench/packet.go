package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Packet is what the first packet of a connection costs. Each way is measured in
// turn with the others, and with those through the other agent's table on the same
// node: on two nodes, and be they alike, the same agent took up to 0.3 µs more on one
// than on the other.
type Packet struct {
	Direct Way `json:"direct"` // to the same endpoints, in turn
	First  Way `json:"first"`  // the same from addresses that were not used before
	VIP    Way `json:"vip"`    // to a Service of 100 endpoints
	Sticky Way `json:"sticky"` // the same with session affinity, from clients that are bound
	Fresh  Way `json:"fresh"`  // the same from clients that are not bound yet: their first connection
}

// Way is one way to a backend.
type Way struct {
	Handshake Quantiles `json:"handshake"`
	Added     float64   `json:"added_ms"` // beside the direct way; the median of what each round's medians differ by
	Rate      float64   `json:"rate"`     // new connections per second, from 2 threads
	Failed    uint64    `json:"failed"`
}

const (
	packetRounds = 800
	packetBurst  = 20 // connections of one way in a row
	rateRounds   = 5
	rateWindow   = 500 * time.Millisecond
)

// path is a way from the node's pod through an agent's table, with its samples.
type path struct {
	kind  AgentKind
	dsts  []netip.AddrPort // in turn
	into  *Way
	plain *path // the direct way from the same addresses; nil if this is it
	used  int   // addresses
	fresh bool  // each connection comes from an address that was not used before
	times []time.Duration
	round []time.Duration // the median of each round
	rates []float64
}

// packets measures the ways through the tables of both agents.
func packets(ctx context.Context, w *World, agents []AgentKind, services *Services) (map[AgentKind]*Packet, error) {
	node, err := dialTables(w.node(agents[0]))
	if err != nil {
		return nil, err
	}
	defer unix.Close(node.fd)
	if err := program(w, node, agents, services); err != nil {
		return nil, err
	}
	result := map[AgentKind]*Packet{}
	paths := map[AgentKind][]*path{}
	for _, k := range agents {
		result[k] = &Packet{}
		paths[k] = pathsOf(k, services, result[k])
	}
	turns := &turns{node: node, kinds: slices.Clone(agents), paths: paths, order: rand.New(rand.NewPCG(1, 2))}
	for round := range packetRounds + 1 {
		err := turns.each(func(p *path) error {
			return w.pod(p.kind).Do(func() error { return p.burst(round) })
		})
		if err != nil {
			return nil, err
		}
	}
	for range rateRounds {
		if err := turns.each(func(p *path) error { p.flood(ctx, w); return nil }); err != nil {
			return nil, err
		}
	}
	for _, k := range agents {
		for _, p := range paths[k] {
			p.into.Handshake, p.into.Added, p.into.Rate = quantilesOf(slices.Clone(p.times)), p.added(), p.rate()
		}
	}
	return result, nil
}

// pathsOf are the ways through an agent's table, and where their figures go.
func pathsOf(k AgentKind, services *Services, p *Packet) []*path {
	endpoints := make([]netip.AddrPort, len(services.wide.backends))
	for i, a := range services.wide.backends {
		endpoints[i] = netip.AddrPortFrom(a, backendPort)
	}
	wide, sticky := []netip.AddrPort{services.wide.vip}, []netip.AddrPort{services.sticky.vip}
	direct := &path{kind: k, dsts: endpoints, into: &p.Direct}
	first := &path{kind: k, dsts: endpoints, into: &p.First, fresh: true}
	return []*path{
		direct, first,
		{kind: k, dsts: wide, into: &p.VIP, plain: direct},
		{kind: k, dsts: sticky, into: &p.Sticky, plain: direct},
		{kind: k, dsts: sticky, into: &p.Fresh, plain: first, fresh: true},
	}
}

// program has each agent write its table, and leaves it dormant.
func program(w *World, node tables, agents []AgentKind, services *Services) error {
	for _, k := range agents {
		a, err := startAgent(w, k)
		if err != nil {
			return err
		}
		_, err = a.becomeReady(w, services.all())
		if err == nil {
			_, err = a.settle(time.Minute)
		}
		if err = errors.Join(err, a.stop()); err != nil {
			return fmt.Errorf("have %s write its table: %w", k, err)
		}
		if err := node.setDormant(k, true); err != nil {
			return err
		}
	}
	return nil
}

// turns takes the tables and the ways through each in a random order. What comes
// first or follows which other must not tell: a way after itself, say, finds the
// processor's caches warm.
type turns struct {
	node  tables
	kinds []AgentKind
	paths map[AgentKind][]*path
	order *rand.Rand
}

// each goes once through all ways, with only the table of their agent awake.
func (t *turns) each(measure func(*path) error) error {
	t.order.Shuffle(len(t.kinds), func(i, j int) { t.kinds[i], t.kinds[j] = t.kinds[j], t.kinds[i] })
	for _, k := range t.kinds {
		if err := t.node.setDormant(k, false); err != nil {
			return err
		}
		paths := t.paths[k]
		t.order.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, p := range paths {
			if err := measure(p); err != nil {
				return fmt.Errorf("measure packets with %s: %w", k, err)
			}
		}
		if err := t.node.setDormant(k, true); err != nil {
			return err
		}
	}
	return nil
}

// added is what the way takes more than the direct one.
func (p *path) added() float64 {
	if p.plain == nil {
		return 0
	}
	differences := make([]time.Duration, len(p.round))
	for i := range p.round {
		differences[i] = p.round[i] - p.plain.round[i]
	}
	return quantilesOf(differences).P50
}

// source is the n-th client. Those of other ways than the fresh one are 120, which
// come again and again.
func (p *path) source(n int) netip.Addr {
	a := sourcePrefix(p.kind).Addr().As4()
	n %= 120
	if p.fresh {
		n = 256 + p.used
		p.used++
	}
	a[2] += byte(n >> 8)
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// burst opens some connections, each from another address than the one before. The
// first round warms up: it makes the bindings.
func (p *path) burst(round int) error {
	begin := len(p.times)
	for i := range packetBurst {
		n := round*packetBurst + i
		a, err := connect(p.dsts[n%len(p.dsts)], p.source(n), 3*time.Second)
		if err != nil {
			p.into.Failed++
			continue
		}
		if round > 0 {
			p.times = append(p.times, a.shaken.Sub(a.began))
		}
	}
	if round == 0 {
		return nil
	}
	if len(p.times) == begin {
		return fmt.Errorf("no connection to %s", p.dsts)
	}
	p.round = append(p.round, median(p.times[begin:]))
	return nil
}

// rate is the median of connections per second; 0 if none were counted.
func (p *path) rate() float64 {
	if len(p.rates) == 0 {
		return 0
	}
	slices.Sort(p.rates)
	return p.rates[len(p.rates)/2]
}

// flood opens as many connections as it can, but not from new addresses.
func (p *path) flood(ctx context.Context, w *World) {
	if p.fresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, rateWindow)
	defer cancel()
	report := w.pod(p.kind).Flood(ctx, testnet.FloodOptions{Dst: p.dsts[0], Workers: 2}).Wait()
	p.rates = append(p.rates, float64(report.Opened)/report.Elapsed.Seconds())
	p.into.Failed += report.Failed
}
