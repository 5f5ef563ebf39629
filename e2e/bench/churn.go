package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// churnRate is how many endpoints change per second.
const churnRate = 100

// Churn is what endpoints cost that change all the time, all over the cluster.
type Churn struct {
	Seconds   float64   `json:"seconds"`
	Changes   int       `json:"changes"`    // acknowledged by the API server in that time
	Update    Quantiles `json:"update"`     // of one more Service: as Update.New
	CPU       float64   `json:"cpu_ms"`     // per change
	Processor float64   `json:"cpu_share"`  // of one processor
	PeakBytes int64     `json:"peak_bytes"` // resident, since the agent's start
	Opened    uint64    `json:"opened"`     // connections to a Service that does not change
	Failed    uint64    `json:"failed"`     // of these, and of those to the Service that is looked at
}

// churn changes random Services for some time, and measures one more beside.
func churn(ctx context.Context, s *series, services *Services, length time.Duration) (c Churn, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flood := s.world.pod(s.agent.kind).Flood(ctx, testnet.FloodOptions{Dst: services.bystander.vip, Workers: 2, Rate: 200})
	before, err := s.agent.account.cpu()
	if err != nil {
		return c, err
	}
	start := time.Now()
	storm := stir(ctx, s.world, services.crowd, s.agent.kind)
	s.service = services.lone
	var news []time.Duration
	for time.Since(start) < length && err == nil {
		var seen sight
		if seen, err = s.change(ctx); err == nil {
			news = append(news, seen.firstNew.Sub(seen.acknowledged))
			c.Failed += uint64(seen.failed)
			time.Sleep(rand.N(100 * time.Millisecond))
		}
	}
	changes, elapsed := storm.changes.Load(), time.Since(start)
	after, cpuErr := s.agent.account.cpu()
	c.PeakBytes = s.agent.memory.highest()
	cancel()
	report := flood.Wait()
	if err := errors.Join(err, cpuErr, storm.wait()); err != nil {
		return c, fmt.Errorf("churn with %s: %w", s.agent.kind, err)
	}
	c.Opened, c.Failed = report.Opened, c.Failed+report.Failed
	c.Seconds, c.Changes, c.Update = elapsed.Seconds(), int(changes), quantilesOf(news)
	c.CPU = milliseconds(after-before) / max(float64(changes), 1)
	c.Processor = (after - before).Seconds() / elapsed.Seconds()
	return c, nil
}

// storm changes endpoints until its context ends.
type storm struct {
	changes atomic.Int64
	tasks   sync.WaitGroup
	failure error
	once    sync.Once
}

// stir replaces one endpoint of one Service after the other, in random order, at churnRate.
func stir(ctx context.Context, w *World, crowd []*Service, kind AgentKind) *storm {
	const atOnce = 8
	s := &storm{}
	jobs := make(chan int)
	s.tasks.Go(func() {
		defer close(jobs)
		tick := time.NewTicker(time.Second / churnRate)
		defer tick.Stop()
		order := rand.Perm(len(crowd))
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case jobs <- order[n%len(order)]:
			}
		}
	})
	var spare atomic.Int64
	spare.Store(int64(kind)<<18 + 1<<17)
	for range atOnce {
		s.tasks.Go(func() {
			for i := range jobs {
				service := crowd[i]
				service.backends[rand.IntN(len(service.backends))] = spareAddr(int(spare.Add(1)))
				if _, err := w.update(ctx, service); err != nil && ctx.Err() == nil {
					s.once.Do(func() { s.failure = err })
					return
				}
				s.changes.Add(1)
			}
		})
	}
	return s
}

func (s *storm) wait() error {
	s.tasks.Wait()
	return s.failure
}
