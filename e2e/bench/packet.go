package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Packet is what the first packet of a connection costs. Each way is measured in
// turn with the others, and with those on the other agent's node.
type Packet struct {
	Direct Way `json:"direct"` // to an endpoint
	VIP    Way `json:"vip"`    // to a Service of 100 endpoints
	Sticky Way `json:"sticky"` // the same with session affinity, from clients that are bound
	Fresh  Way `json:"fresh"`  // the same from clients that are not bound yet
}

// Way is one way to a backend.
type Way struct {
	Handshake Quantiles `json:"handshake"`
	Rate      float64   `json:"rate"` // new connections per second, from 2 threads
	Failed    uint64    `json:"failed"`
}

const (
	packetRounds = 100
	packetBurst  = 20 // connections of one way in a row
	rateRounds   = 5
	rateWindow   = 500 * time.Millisecond
)

// path is a way from a node's pod, with its samples.
type path struct {
	kind  AgentKind
	dst   netip.AddrPort
	into  *Way
	used  int  // addresses
	fresh bool // each connection comes from an address that was not used before
	times []time.Duration
	rates []float64
}

// packets measures the ways through the tables of both agents.
func packets(ctx context.Context, w *World, agents []AgentKind, services *Services) (map[AgentKind]*Packet, error) {
	result := map[AgentKind]*Packet{}
	var paths []*path
	for _, k := range agents {
		p := &Packet{}
		result[k] = p
		paths = append(paths,
			&path{kind: k, dst: netip.AddrPortFrom(services.wide.backends[0], backendPort), into: &p.Direct},
			&path{kind: k, dst: services.wide.vip, into: &p.VIP},
			&path{kind: k, dst: services.sticky.vip, into: &p.Sticky},
			&path{kind: k, dst: services.sticky.vip, into: &p.Fresh, fresh: true})
	}
	for round := range packetRounds + 1 {
		slices.Reverse(paths) // what comes first or follows which other must not tell
		for _, p := range paths {
			err := w.pod(p.kind).Do(func() error { return p.burst(round) })
			if err != nil {
				return nil, fmt.Errorf("measure packets with %s: %w", p.kind, err)
			}
		}
	}
	for range rateRounds {
		for _, p := range paths {
			if !p.fresh {
				p.flood(ctx, w)
			}
		}
	}
	for _, p := range paths {
		p.into.Handshake = quantilesOf(p.times)
		if p.fresh {
			continue
		}
		slices.Sort(p.rates)
		p.into.Rate = p.rates[len(p.rates)/2]
	}
	return result, nil
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
	for i := range packetBurst {
		a, err := connect(p.dst, p.source(round*packetBurst+i), 3*time.Second)
		if err != nil {
			p.into.Failed++
			continue
		}
		if round > 0 {
			p.times = append(p.times, a.shaken.Sub(a.began))
		}
	}
	if len(p.times) == 0 && round > 0 {
		return fmt.Errorf("no connection to %s", p.dst)
	}
	return nil
}

// flood opens as many connections as it can.
func (p *path) flood(ctx context.Context, w *World) {
	ctx, cancel := context.WithTimeout(ctx, rateWindow)
	defer cancel()
	report := w.pod(p.kind).Flood(ctx, testnet.FloodOptions{Dst: p.dst, Workers: 2}).Wait()
	p.rates = append(p.rates, float64(report.Opened)/report.Elapsed.Seconds())
	p.into.Failed += report.Failed
}
