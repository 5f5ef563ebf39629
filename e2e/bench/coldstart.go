package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// ColdStart is a start on a node that has no table. Times are in seconds since
// the process started.
type ColdStart struct {
	ListsIn   float64 `json:"lists_in_s"` // the last of the initial lists had arrived
	Ready     float64 `json:"ready_s"`    // packets to each Service reached a backend
	CPU       float64 `json:"cpu_s"`      // until the process was idle
	PeakBytes int64   `json:"peak_bytes"` // resident, of the process and its children
	RestBytes int64   `json:"rest_bytes"` // resident, when it was idle
	Failed    int     `json:"failed"`     // Services that did not answer after the first ones did
}

// patience bounds the wait for anything that an agent does.
const patience = 10 * time.Minute

// coldStart starts an agent.
func coldStart(w *World, kind AgentKind, services []*Service) (*Agent, ColdStart, error) {
	traffic := watchTraffic(w.node(kind))
	defer traffic.stop()
	a, err := startAgent(w, kind)
	if err != nil {
		return nil, ColdStart{}, err
	}
	c, err := a.becomeReady(w, services)
	if err != nil {
		return nil, c, errors.Join(fmt.Errorf("cold start of %s: %w", kind, err), a.stop())
	}
	c.ListsIn = traffic.lastBulk(a.started, a.started.Add(time.Duration(c.Ready*float64(time.Second)))).Seconds()
	cpu, err := a.settle(time.Minute)
	c.CPU, c.PeakBytes, c.RestBytes = cpu.Seconds(), a.memory.highest(), a.memory.resident()
	return a, c, err
}

// becomeReady waits until a sample of the Services answers, and then asks all of them.
func (a *Agent) becomeReady(w *World, services []*Service) (c ColdStart, err error) {
	var ready time.Time
	err = w.pod(a.kind).Do(func() error {
		for _, s := range sampleOf(services, 64) {
			if ready, err = a.reach(s, 20*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	slow, last, err := a.sweep(w, services)
	if err != nil {
		return c, err
	}
	if c.Failed = slow; slow > 0 {
		ready = last
	}
	c.Ready = ready.Sub(a.started).Seconds()
	return c, nil
}

// sampleOf spreads n Services over all, the last first.
func sampleOf(services []*Service, n int) []*Service {
	n = min(n, len(services))
	sample := make([]*Service, n)
	for i := range sample {
		sample[i] = services[len(services)-1-i*len(services)/n]
	}
	return sample
}

// reach asks a Service until it answers, and returns when it did.
func (a *Agent) reach(s *Service, timeout time.Duration) (time.Time, error) {
	for deadline := a.started.Add(patience); ; rest(time.Millisecond) {
		got, err := connect(s.vip, noSource, timeout)
		if err == nil {
			return got.answered, nil
		}
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("%s does not answer after %s: %w", s.name, patience, err)
		}
		if err := a.ended(); err != nil {
			return time.Time{}, err
		}
	}
}

// sweep asks each Service once, and those that fail until they answer: so many,
// the last at that time.
func (a *Agent) sweep(w *World, services []*Service) (slow int, last time.Time, err error) {
	const askers = 3
	var (
		mu    sync.Mutex
		tasks sync.WaitGroup
	)
	for part := range askers {
		tasks.Go(func() {
			failure := w.pod(a.kind).Do(func() error {
				for i := part; i < len(services); i += askers {
					if _, err := connect(services[i].vip, noSource, 3*time.Second); err == nil {
						continue
					}
					at, err := a.reach(services[i], time.Second)
					if err != nil {
						return err
					}
					mu.Lock()
					slow++
					last = later(last, at)
					mu.Unlock()
				}
				return nil
			})
			mu.Lock()
			err = errors.Join(err, failure)
			mu.Unlock()
		})
	}
	tasks.Wait()
	return slow, last, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// traffic follows what a node receives, by its interface's counter, to tell when
// the lists of the API server have arrived.
type traffic struct {
	cancel context.CancelFunc
	task   sync.WaitGroup
	bulks  []time.Time // when much was received
}

const (
	trafficPeriod = 5 * time.Millisecond
	// bulkBytes in a period is a list's part: probes and their answers are less.
	bulkBytes = 16 << 10
)

func watchTraffic(node *testnet.Host) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	t := &traffic{cancel: cancel}
	t.task.Go(func() {
		_ = node.Do(func() error { // it fails with the laboratory, as all else then does
			for last := receivedBytes(); ctx.Err() == nil; rest(trafficPeriod) {
				now := receivedBytes()
				if now-last >= bulkBytes {
					t.bulks = append(t.bulks, time.Now())
				}
				last = now
			}
			return nil
		})
	})
	return t
}

func (t *traffic) stop() {
	t.cancel()
	t.task.Wait()
}

// lastBulk is when, after a start, much was received for the last time before an
// end; 0 if never. It ends the watch.
func (t *traffic) lastBulk(start, end time.Time) (last time.Duration) {
	t.stop()
	for _, at := range t.bulks {
		if at.After(start) && at.Before(end) {
			last = at.Sub(start)
		}
	}
	return last
}

// receivedBytes is the counter of eth0 in the thread's namespace.
func receivedBytes() int64 {
	b, _ := os.ReadFile("/proc/thread-self/net/dev")
	for line := range strings.Lines(string(b)) {
		if counters, ok := strings.CutPrefix(strings.TrimSpace(line), "eth0:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(counters)[0], 10, 64)
			return n
		}
	}
	return 0
}
