package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// smallest is from how many Services on changes and restarts are measured: below,
// only packets are.
const smallest = 100

// bench is one run.
type bench struct {
	options
	result *Result
}

// measure goes through the parts at one scale: first one agent, then the other,
// each on its node, and at last packets through the tables of both, on one node.
func (b *bench) measure(ctx context.Context, scale Scale) error {
	r := b.result.scale(scale)
	changes := scale.Services >= smallest && (b.does("update") || b.does("churn") || b.does("restart"))
	err := b.inWorld(ctx, scale, kinds, func(w *World, services *Services) error {
		for _, kind := range b.agents {
			figures, err := b.agent(ctx, w, kind, services, changes)
			if err != nil {
				return err
			}
			r.Agents[kind] = figures
		}
		if !b.does("commit") {
			return nil
		}
		return b.commits(w, services, r)
	})
	if err != nil || !b.does("packet") {
		return err
	}
	return b.inWorld(ctx, scale, []AgentKind{KubeVmap}, func(w *World, services *Services) error {
		return b.packets(ctx, w, services, r)
	})
}

// inWorld builds a world, loads it with the objects of the scale, and calls f.
func (b *bench) inWorld(ctx context.Context, scale Scale, nodes []AgentKind, f func(*World, *Services) error) (err error) {
	say("%s: start the control plane", scale)
	w, err := startWorld(ctx, b.logs, nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	services := newServices(scale)
	took, err := w.load(ctx, services.all())
	if err != nil {
		return err
	}
	say("%s: %d Services with %d endpoints loaded in %.1f s", scale, scale.Services, scale.Total(), took.Seconds())
	return f(w, services)
}

// packets measures the ways of packets through the tables of both agents, with no
// agent running.
func (b *bench) packets(ctx context.Context, w *World, services *Services, r *ScaleResult) error {
	found, err := packets(ctx, w, b.agents, services)
	if err != nil {
		return err
	}
	for kind, p := range found {
		r.Agents[kind].Packet = p
		say("  %s: packets: direct %+v, VIP %+v, sticky %+v", kind, p.Direct, p.VIP, p.Sticky)
	}
	return nil
}

// commits measures commits on the node of each agent, with no agent running.
func (b *bench) commits(w *World, services *Services, r *ScaleResult) error {
	for _, kind := range b.agents {
		c, err := commits(w, kind, services)
		if err != nil {
			return err
		}
		r.Agents[kind].Commit = &c
		say("  %s: commit: own %+v, other %+v", kind, c.Own, c.Other)
	}
	return nil
}

// agent measures one agent: its start, and what changes and a restart cost it.
func (b *bench) agent(ctx context.Context, w *World, kind AgentKind, services *Services, changes bool) (f *Figures, err error) {
	f = &Figures{LoadBefore: loadAverage()}
	a, cold, err := coldStart(w, kind, services.all())
	if err != nil {
		return nil, err
	}
	defer func() {
		if a != nil {
			err = errors.Join(err, a.stop())
		}
	}()
	f.Cold = &cold
	say("  %s: cold start: lists in %.2f s, ready %.2f s, %.2f CPU s, %d MB, peak %d MB", kind, cold.ListsIn, cold.Ready, cold.CPU, cold.RestBytes>>20, cold.PeakBytes>>20)
	if changes {
		if err := b.updates(ctx, w, a, services, f); err != nil {
			return nil, err
		}
	}
	if b.does("restart") && changes {
		var warm WarmRestart
		if a, warm, err = warmRestart(ctx, w, a, services); err != nil {
			return nil, err
		}
		f.Warm = &warm
		say("  %s: warm restart: ready %.2f s, %.2f CPU s, %+v, %d of %d connections failed", kind, warm.Ready, warm.CPU, warm.Writes, warm.Failed, warm.Opened)
	}
	f.LoadAfter = loadAverage()
	return f, nil
}

// updates measures changes of a lone endpoint and of one of several.
func (b *bench) updates(ctx context.Context, w *World, a *Agent, services *Services, f *Figures) error {
	s := &series{world: w, agent: a, samples: b.samples, limit: 20 * time.Second, gap: idleGap(a.kind), spare: int(a.kind) << 18}
	if b.does("update") {
		if err := s.idle(ctx, services, f); err != nil {
			return err
		}
	}
	if !b.does("churn") {
		return nil
	}
	c, err := churn(ctx, s, services, b.churn)
	if err != nil {
		return err
	}
	f.Churn = &c
	say("  %s: churn: %+v", a.kind, c)
	_, err = a.settle(time.Minute)
	return err
}

// idle measures single changes.
func (s *series) idle(ctx context.Context, services *Services, f *Figures) error {
	for _, target := range []struct {
		service *Service
		into    **Update
	}{{services.crowd[len(services.crowd)/2], &f.Update}, {services.lone, &f.UpdateLone}} {
		s.service = target.service
		u, err := s.run(ctx)
		if err != nil {
			return err
		}
		*target.into = &u
		say("  %s: update of %s: new %+v, old %+v, %.2f CPU ms, %d failed", s.agent.kind, s.service.name, u.New, u.Old, u.CPU, u.Failed)
	}
	return nil
}

// idleGap is the pause after a change: kube-proxy waits for a second after each
// synchronisation, so that its next change is to come later.
func idleGap(kind AgentKind) func(int) time.Duration {
	return func(int) time.Duration {
		if kind == KubeVmap {
			return 20*time.Millisecond + rand.N(20*time.Millisecond)
		}
		return 1300*time.Millisecond + rand.N(400*time.Millisecond)
	}
}

// say tells the user how far it is.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
