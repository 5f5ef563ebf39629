package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func startAgent(ctx context.Context, s *stage) error {
	s.command(fmt.Sprintf("%s run --manifests %s --node-name %s", s.options.binary, s.options.manifests, nodeName))
	took, err := s.runAgent(ctx)
	if err != nil {
		return err
	}
	s.line("from start to everything programmed: %s", ms(took))
	return nil
}

func listServices(_ context.Context, s *stage) error {
	s.command("kube-vmap services")
	out, err := s.kubevmap("services")
	if err != nil {
		return err
	}
	s.block(out)
	return nil
}

// spreadRequests sends requests by each way in and shows who answered.
func spreadRequests(ctx context.Context, s *stage) error {
	ways, err := s.ways()
	if err != nil {
		return err
	}
	for _, w := range ways {
		if err := spreadOne(ctx, s, w); err != nil {
			return err
		}
	}
	return nil
}

// most is how far a backend may be from its fair share.
const most = 0.15

// spreadOne sends 1,000 requests. A fair spread of so few exceeds 15 % once in
// 400 times; then 1,000 more are counted with them.
func spreadOne(ctx context.Context, s *stage, w way) error {
	t := newTally()
	for range 2 {
		if err := w.send(ctx, 1000, t); err != nil {
			return err
		}
		if t.worst() <= most {
			break
		}
	}
	s.failed += t.failed
	mark := s.green("✓")
	if t.worst() > most || t.failed > 0 {
		mark = s.red("✗")
	}
	s.line("%-42s %s %s failed %d", w.title, t.shares(), mark, t.failed)
	if t.worst() > most {
		return fmt.Errorf("%s: a backend is %.0f %% away from its fair share of %d requests", w.to, 100*t.worst(), t.requests)
	}
	return nil
}

// deviation is how far a backend is from its fair share: 0.1 is 10 % more.
func (t *tally) deviation(server string) float64 {
	fair := float64(t.requests-t.failed) / float64(len(backends))
	return float64(t.servers[server])/fair - 1
}

func (t *tally) worst() float64 {
	worst := 0.0
	for _, b := range backends {
		worst = max(worst, t.deviation(b), -t.deviation(b))
	}
	return worst
}

func (t *tally) shares() string {
	var parts []string
	for _, b := range backends {
		parts = append(parts, fmt.Sprintf("%s %3d %+5.1f %%", b, t.servers[b], 100*t.deviation(b)))
	}
	return strings.Join(parts, "  ")
}

// changeEndpoint edits the manifest twice under load.
func changeEndpoint(ctx context.Context, s *stage) error {
	l, err := s.startLoad(ctx)
	if err != nil {
		return err
	}
	defer l.stop()
	commits, cancel, err := s.watch(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	if err := backendLeaves(ctx, s, l, commits); err != nil {
		return err
	}
	if err := backendReturns(ctx, s, l, commits); err != nil {
		return err
	}
	s.failed += s.finish(l)
	return nil
}

func backendLeaves(ctx context.Context, s *stage, l *load, commits <-chan commit) error {
	s.line("%s", s.bold(leaver+" is deleted from the manifest"))
	var addrs []string
	for _, a := range s.lab.Host(leaver).Addrs() {
		addrs = append(addrs, a.String())
	}
	n := s.agent.logged()
	edited, err := s.files.remove(addrs)
	if err != nil {
		return err
	}
	c, err := s.awaitBackends(ctx, commits, len(backends)-1)
	if err != nil {
		return err
	}
	if err := s.tellCommit(ctx, n, edited, c, "gone from the kernel"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	_, last := l.firstLast(leaver)
	if last.After(edited) {
		s.line("  %-34s %s after the rename", "last connection to "+leaver, ms(last.Sub(edited)))
	} else {
		s.line("  no connection to %s since", leaver)
	}
	s.line("  its server is stopped")
	if err := s.servers[leaver].Close(); err != nil {
		return err
	}
	return pause(ctx, time.Second)
}

func backendReturns(ctx context.Context, s *stage, l *load, commits <-chan commit) error {
	s.line("%s", s.bold(leaver+" is started and written back into the manifest"))
	l.mark()
	if err := s.serve(leaver); err != nil {
		return err
	}
	n := s.agent.logged()
	edited, err := s.files.restore()
	if err != nil {
		return err
	}
	c, err := s.awaitBackends(ctx, commits, len(backends))
	if err != nil {
		return err
	}
	if err := s.tellCommit(ctx, n, edited, c, "in the kernel"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	first, _ := l.firstLast(leaver)
	if first.IsZero() {
		return fmt.Errorf("%s got no connection in the second after it came back", leaver)
	}
	s.line("  %-34s %s after the rename", "first connection to "+leaver, ms(first.Sub(edited)))
	return nil
}

// tellCommit says when the kernel told of a commit, who made it, and what the
// agent says it cost.
func (s *stage) tellCommit(ctx context.Context, n int, edited time.Time, c commit, what string) error {
	s.line("  %-34s %s after the rename (a commit of %s)", leaver+" "+what, ms(c.at.Sub(edited)), c.Process)
	line, err := s.agent.await(ctx, n, "msg=transaction")
	if err != nil {
		return err
	}
	_, facts, _ := strings.Cut(line, "msg=transaction ")
	s.line("  the agent's log                    %s", s.dim(facts))
	return nil
}
