package main

import (
	"context"
	"fmt"
	"time"
)

// killAgent kills the agent and starts it again while requests flow, and counts
// what the new one wrote.
func killAgent(ctx context.Context, s *stage) error {
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
	before, err := s.conn.Generation()
	if err != nil {
		return err
	}
	s.command(fmt.Sprintf("kill -9 %d", s.agent.process.PID()))
	if err := s.agent.process.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	requests, failed := l.total()
	s.line("1 s without an agent: %d requests so far, %d failed", requests, failed)
	s.command("kube-vmap run ...")
	took, err := s.runAgent(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	after, err := s.conn.Generation()
	if err != nil {
		return err
	}
	s.line("ready again %s after its start", ms(took))
	s.line("generation of all rulesets on the node: %d before, %d after", before.ID, after.ID)
	s.line("commits that changed the table: %s", s.bold(fmt.Sprint(len(commits))))
	s.failed += s.finish(l)
	return nil
}

// flushRuleset does what should not be done, while requests flow.
func flushRuleset(ctx context.Context, s *stage) error {
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
	s.command("nft flush ruleset")
	start := time.Now()
	if _, err := s.node.Run("nft", "flush", "ruleset"); err != nil {
		return err
	}
	flushed := time.Now()
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	untouched := s.tellFlush(commits, start, flushed)
	if failed := s.finish(l); untouched {
		s.failed += failed
	}
	return nil
}

// tellFlush says what became of the table, and reports whether it was left alone.
// A table that is gone for a moment costs connections: those are told, and are
// no failure of the demo.
func (s *stage) tellFlush(commits <-chan commit, start, flushed time.Time) (untouched bool) {
	s.line("nft was done after %s", ms(flushed.Sub(start)))
	var gone time.Time
	for len(commits) > 0 {
		c := <-commits
		switch {
		case c.Process == "nft":
			gone = c.at
			s.line("nft emptied the table %s after its start", ms(c.at.Sub(start)))
		case !gone.IsZero():
			s.line("%s had repaired it %s later", c.Process, ms(c.at.Sub(gone)))
		}
	}
	if gone.IsZero() {
		s.line("%s", s.green("the table was not touched: the agent owns it, and the kernel passes over it"))
	}
	return gone.IsZero()
}
