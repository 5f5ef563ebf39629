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

// RepairMode says what is done about changes of the table by other processes.
type RepairMode string

// The modes of repair.
const (
	RepairChanges RepairMode = "Repair" // read the table and put it right
	ReportChanges RepairMode = "Report" // tell of them, and leave them
	IgnoreChanges RepairMode = "Ignore" // don't listen
)

// DefaultRepairDelay is how long a foreign change stays at most, in DefaultConfig.
const DefaultRepairDelay = time.Second

// foreign is what a monitor tells the loop.
type foreign struct {
	from   *kernel.Monitor
	commit kernel.ForeignCommit
	err    error // the monitor is lost
}

// watch begins to listen, once the table is loaded. If that fails it is tried
// again after the next foreign change or retry; the table works without.
func (p *Proxy) watch(ctx context.Context) {
	if p.watcher == nil || p.monitor != nil || p.config.Repair == IgnoreChanges {
		return
	}
	m, err := p.watcher.Watch(p.config.Table)
	if err != nil {
		p.log.Error(err, "changes of other processes will not be noticed")
		return
	}
	p.monitor = m
	// Whatever was committed before anybody listened is not told.
	if g, err := p.watcher.Generation(); (err != nil || g.ID != p.generation) && p.config.Repair != ReportChanges {
		p.adopted, p.suspicious = false, true
		p.retry.in(0)
	}
	go func() {
		for {
			commit, err := m.Next(ctx)
			select {
			case <-ctx.Done():
				return
			case p.foreign <- foreign{m, commit, err}:
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
// takes at most a tenth of the time, and a change waits at most RepairDelay. The
// first change after a while does not wait, whatever else the loop has done.
func (p *Proxy) repairPause() time.Duration {
	return min(10*p.lastRead, p.config.RepairDelay) - time.Since(p.lastLook)
}

// foreignChange makes the next step read the table and repair it, or tells of the
// change where that is all that is asked for.
func (p *Proxy) foreignChange(f foreign) {
	switch {
	case f.from != p.monitor: // nobody listens to that one any more
		return
	case f.err == nil && p.config.Repair == ReportChanges:
		p.reportForeign(f.commit)
		return
	}
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

// reportForeign tells of a change that stays.
func (p *Proxy) reportForeign(c kernel.ForeignCommit) {
	who, process := intruderText(c.Generation)
	p.instruments.Metrics.ForeignChange(process)
	p.log.Info("another process changed the table, which is left as it is", "process", process, "pid", c.PID)
	p.record(p.nodeRef(), Warning, reasonForeign, fmt.Sprintf(
		"%s changed the nftables table inet %s, which is left as it is, since repair.mode is %s", who, p.config.Table, ReportChanges))
}

// intruderText names a process for people, and for a metric.
func intruderText(g kernel.Generation) (who, process string) {
	if g.Process == "" {
		return "another process", "unknown"
	}
	return fmt.Sprintf("process %q (pid %d)", g.Process, g.PID), g.Process
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
		"pid", p.intruder.PID, "operations", r.operations, "took", r.took.String())
	p.record(p.nodeRef(), Warning, reasonForeign, fmt.Sprintf(
		"%s changed the nftables table inet %s, which is repaired", who, p.config.Table))
}

// trust says that the table is as it should be.
func (p *Proxy) trust() { p.suspicious, p.intruder = false, kernel.Generation{} }
