package main

import (
	"context"
	"errors"
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
	written, err := s.countWrites()
	if err != nil {
		return err
	}
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return errors.Join(err, written.stop())
	}
	if err := s.killAndRun(ctx, l); err != nil {
		return errors.Join(err, written.stop())
	}
	if err := written.stop(); err != nil {
		return err
	}
	s.zero("elements, rules, chains and sets written", uint64(written.content))
	if written.tables > 0 {
		s.line("the new agent made the table its own again, so that nobody else can change it: %d commit without content", written.tables)
	}
	s.written += uint64(written.content)
	s.failed += s.finish(l)
	return nil
}

// killAndRun leaves the node without an agent for a second.
func (s *stage) killAndRun(ctx context.Context, l *load) error {
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
	s.line("ready again %s after its start", ms(took))
	return pause(ctx, time.Second)
}

// giveTableUp starts an agent that leaves the table to everybody, as it is on
// kernels before 6.9.
func giveTableUp(ctx context.Context, s *stage) error {
	if err := s.agent.process.Kill(); err != nil {
		return err
	}
	s.ownership = "off"
	s.command("kube-vmap run --table-ownership off ...")
	took, err := s.runAgent(ctx)
	if err != nil {
		return err
	}
	s.line("ready %s after its start", ms(took))
	if err := flushRuleset(ctx, s); err != nil {
		return err
	}
	s.line("%s", s.dim("what failed while the table was gone is no failure of the agent, and not in the sum below"))
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
			s.line("%s had repaired it %s later", c.Process, s.bold(ms(c.at.Sub(gone))))
			gone = c.at // what follows is no repair
		}
	}
	if gone.IsZero() {
		s.line("%s", s.green("the table was not touched: the agent owns it, and the kernel passes over it"))
	}
	return gone.IsZero()
}
