package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// WarmRestart is a restart on a node that has the table of the run before. One
// endpoint of one Service changed while the agent was down, so that packets show
// when it is up to date; what this change explains is not counted as written.
type WarmRestart struct {
	ListsIn   float64 `json:"lists_in_s"` // as in ColdStart
	Ready     float64 `json:"ready_s"`    // a packet reached the backend that is new
	CPU       float64 `json:"cpu_s"`
	PeakBytes int64   `json:"peak_bytes"`
	RestBytes int64   `json:"rest_bytes"`
	Writes    Writes  `json:"writes"`
	Opened    uint64  `json:"opened"` // connections to another Service, from before the stop until all was quiet
	Failed    uint64  `json:"failed"` // of these
}

// warmRestart stops an agent and starts it again.
func warmRestart(ctx context.Context, w *World, a *Agent, services *Services) (*Agent, WarmRestart, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flood := w.pod(a.kind).Flood(ctx, testnet.FloodOptions{Dst: services.bystander.vip, Workers: 2, Rate: 200})
	again, r, err := restart(ctx, w, a, services.restart)
	cancel()
	report := flood.Wait()
	r.Opened, r.Failed = report.Opened, report.Failed
	if err != nil {
		return nil, r, fmt.Errorf("warm restart of %s: %w", a.kind, err)
	}
	return again, r, nil
}

func restart(ctx context.Context, w *World, a *Agent, changed *Service) (again *Agent, r WarmRestart, err error) {
	if err := a.stop(); err != nil {
		return nil, r, err
	}
	old := changed.backends[0]
	changed.backends[0] = spareAddr(1<<19 + int(a.kind))
	if _, err := w.update(ctx, changed); err != nil {
		return nil, r, err
	}
	mark := changed.vip.Addr().As4()
	events, err := listen(w.node(a.kind), mark[:])
	if err != nil {
		return nil, r, err
	}
	defer func() { r.Writes = events.stop() }()
	traffic := watchTraffic(w.node(a.kind))
	defer traffic.stop()
	if again, err = startAgent(w, a.kind); err != nil {
		return nil, r, err
	}
	ready, err := again.reachNew(w, changed, old)
	if err != nil {
		return nil, r, errors.Join(err, again.stop())
	}
	r.Ready = ready.Sub(again.started).Seconds()
	r.ListsIn = traffic.lastBulk(again.started, ready).Seconds()
	cpu, err := again.settle(2 * time.Minute)
	r.CPU, r.PeakBytes, r.RestBytes = cpu.Seconds(), again.memory.highest(), again.memory.resident()
	return again, r, err
}

// reachNew asks a Service until another backend answers than the old one.
func (a *Agent) reachNew(w *World, s *Service, old any) (at time.Time, err error) {
	err = w.pod(a.kind).Do(func() error {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); rest(time.Millisecond) {
			got, err := connect(s.vip, noSource, time.Second)
			if err == nil && got.backend != old {
				at = got.answered
				return nil
			}
			if err := a.ended(); err != nil {
				return err
			}
		}
		return fmt.Errorf("the new backend of %s does not answer after %s", s.name, patience)
	})
	return at, err
}
