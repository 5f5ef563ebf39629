package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Update is what changes of one endpoint took, from the moment at which the API
// server had acknowledged them.
type Update struct {
	New    Quantiles `json:"new"`     // until the first connection that the new backend answered
	Old    Quantiles `json:"old"`     // until the last one that the old backend answered had begun
	CPU    float64   `json:"cpu_ms"`  // per change, of the agent and its children
	Failed int       `json:"failed"`  // connections to the changing Service
	Within float64   `json:"gap_p50"` // between two connections that looked, in ms
}

// series says how changes are measured.
type series struct {
	world   *World
	agent   *Agent
	service *Service
	samples int
	gap     func(n int) time.Duration // after the n-th change, so that it meets an idle agent
	limit   time.Duration             // the series ends then, however few the samples are
	spare   int                       // number of the next fresh address
}

// run replaces one endpoint of the Service, again and again.
func (s *series) run(ctx context.Context) (Update, error) {
	idle, err := s.idleCPU()
	if err != nil {
		return Update{}, err
	}
	var news, olds, gaps []time.Duration
	var u Update
	cpu, err := s.agent.account.cpu()
	if err != nil {
		return u, err
	}
	start := time.Now()
	n := 0
	for ; n < s.samples && (time.Since(start) < s.limit || n < 3); n++ {
		seen, err := s.change(ctx)
		if err != nil {
			return u, err
		}
		news = append(news, seen.firstNew.Sub(seen.acknowledged))
		if !seen.lastOld.IsZero() { // one of many may not have been met at all
			olds = append(olds, seen.lastOld.Sub(seen.acknowledged))
		}
		gaps = append(gaps, seen.gaps...)
		u.Failed += seen.failed
		time.Sleep(s.gap(n))
	}
	elapsed := time.Since(start)
	after, err := s.agent.account.cpu()
	u.CPU = milliseconds(after-cpu-time.Duration(idle*float64(elapsed))) / float64(n)
	u.New, u.Old, u.Within = quantilesOf(news), quantilesOf(olds), quantilesOf(gaps).P50
	return u, err
}

// idleCPU is the share of a processor that the agent takes without changes.
func (s *series) idleCPU() (float64, error) {
	const window = 2 * time.Second
	before, err := s.agent.account.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(window)
	after, err := s.agent.account.cpu()
	return float64(after-before) / float64(window), err
}

// sight is what was seen of one change.
type sight struct {
	acknowledged, firstNew, lastOld time.Time
	failed                          int
	gaps                            []time.Duration
}

// change replaces the first endpoint by one that was never there.
func (s *series) change(ctx context.Context) (sight, error) {
	fresh := spareAddr(s.spare)
	s.spare++
	seen := &watch{old: s.service.backends[0], new: fresh, lone: len(s.service.backends) == 1}
	var looking sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	looking.Go(func() {
		err = s.world.pod(s.agent.kind).Do(func() error { return seen.look(ctx, s.service.vip) })
	})
	time.Sleep(2 * time.Millisecond)
	s.service.backends[0] = fresh
	acknowledged, updateErr := s.world.update(ctx, s.service)
	if updateErr != nil {
		cancel()
		looking.Wait()
		return sight{}, updateErr
	}
	looking.Wait()
	if err != nil {
		return sight{}, fmt.Errorf("%s: change of %s: %w", s.agent.kind, s.service.name, err)
	}
	seen.acknowledged = acknowledged
	return seen.sight, nil
}

// watch looks at a Service until its new backend has answered and its old one
// answers no more.
type watch struct {
	old, new netip.Addr
	lone     bool // these two are all that can answer
	sight
}

const (
	// lookPause leaves the processors to the agent between two looks.
	lookPause = 30 * time.Microsecond
	// calm is how many answers in a row without the old backend end the watch, if
	// there are others: with 10 endpoints it hides for so long once in 4000 times.
	calm = 80
)

// look runs on a thread in the client's namespace.
func (w *watch) look(ctx context.Context, dst netip.AddrPort) error {
	without := 0
	var last time.Time
	for without < calm {
		if ctx.Err() != nil {
			return fmt.Errorf("the new backend %s did not answer: %w", w.new, context.Cause(ctx))
		}
		a, err := connect(dst, noSource, 3*time.Second)
		if !last.IsZero() {
			w.gaps = append(w.gaps, time.Since(last))
		}
		last = time.Now()
		switch {
		case err != nil:
			w.failed++
		case a.backend == w.old:
			w.lastOld, without = a.began, 0
		case a.backend == w.new && w.firstNew.IsZero():
			w.firstNew = a.answered
		}
		if err == nil && a.backend != w.old && !w.firstNew.IsZero() {
			without++
			if w.lone && without >= 5 {
				return nil
			}
		}
		rest(lookPause)
	}
	return nil
}

// noSource lets the kernel choose.
var noSource netip.Addr
