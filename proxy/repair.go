package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
)

// Watcher listens for commits of other processes that change the table.
type Watcher interface {
	Watch(table string) (*kernel.Monitor, error)
	Generation() (kernel.Generation, error)
}

// RepairForeignChanges makes the loop read the table and put it right when
// another process has changed it. The watcher is the dataplane's, or one that
// leaves out the dataplane's own commits. Call it before Run.
func (p *Proxy) RepairForeignChanges(w Watcher) { p.watcher = w }

// foreign is what the monitor tells the loop.
type foreign struct {
	commit kernel.ForeignCommit
	err    error // the monitor is lost
}

// watch begins to listen, once the table is loaded. If that fails it is tried
// again after the next foreign change or retry; the table works without.
func (p *Proxy) watch(ctx context.Context) {
	if p.watcher == nil || p.monitor != nil {
		return
	}
	m, err := p.watcher.Watch(p.config.Table)
	if err != nil {
		p.log.Error(err, "changes of other processes will not be noticed")
		return
	}
	p.monitor = m
	// Whatever was committed before anybody listened is not told.
	if g, err := p.watcher.Generation(); err != nil || g.ID != p.generation {
		p.adopted, p.suspicious = false, true
		p.retry.in(0)
	}
	go func() {
		for {
			commit, err := m.Next(ctx)
			select {
			case <-ctx.Done():
				return
			case p.foreign <- foreign{commit, err}:
			}
			if err != nil {
				return
			}
		}
	}()
}

// unwatch ends listening.
func (p *Proxy) unwatch() {
	if p.monitor != nil {
		if err := p.monitor.Close(); err != nil {
			p.log.Error(err, "close the watch of other processes' changes")
		}
		p.monitor = nil
	}
}

// repairPause bounds how often the table is read for foreign changes: reading
// takes at most a tenth of the time, and a change waits at most a second. The
// first change after a while does not wait, whatever else the loop has done.
func (p *Proxy) repairPause() time.Duration {
	return min(10*p.lastRead, time.Second) - time.Since(p.lastLook)
}

// foreignChange makes the next step read the table and repair it.
func (p *Proxy) foreignChange(f foreign) {
	p.adopted, p.suspicious = false, true
	switch {
	case f.err != nil:
		p.unwatch()
		p.log.Error(f.err, "lost sight of other processes' changes, will read the table")
	case f.commit.Missed:
		p.log.Info("too many changes of other processes to follow, will read the table")
	default:
		p.intruder = f.commit.Generation
		p.log.V(1).Info("another process committed to the table, will read it",
			"process", f.commit.Process, "pid", f.commit.PID, "generation", f.commit.ID)
	}
	if wait := p.repairPause(); wait > 0 {
		p.retry.in(wait)
		return
	}
	p.step()
}

// repaired tells that the table differed from what was committed, and who had
// changed it, if that is known.
func (p *Proxy) repaired(r *report) {
	who, process := "another process", "unknown"
	if p.intruder.Process != "" {
		process = p.intruder.Process
		who = fmt.Sprintf("process %q (pid %d)", p.intruder.Process, p.intruder.PID)
	}
	p.history.repaired(p.intruder)
	p.instruments.Metrics.Repair()
	p.instruments.Metrics.ForeignChange(process)
	p.log.Info("another process changed the table, which is repaired", "process", process,
		"pid", p.intruder.PID, "operations", r.operations, "took", r.total().String())
	p.record(p.nodeRef(), Warning, reasonForeign, fmt.Sprintf(
		"%s changed the nftables table inet %s, which is repaired", who, p.config.Table))
}

// trust says that the table is as it should be.
func (p *Proxy) trust() { p.suspicious, p.intruder = false, kernel.Generation{} }
