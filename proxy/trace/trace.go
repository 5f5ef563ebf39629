package trace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
)

// Options of Run.
type Options struct {
	Query explain.Query
	Count int    // how many packets to follow; 0: until the context ends
	Table string // whose rules are told in words
	// Visit gets each packet when its way has ended.
	Visit func(*Packet) error
	// Ready is called when packets are being followed. May be nil.
	Ready func()
}

// pause is how long after its last event a packet's way is taken for ended: the
// kernel does not say. A packet that waits longer, for a neighbour's address,
// counts as another one.
const pause = 200 * time.Millisecond

// Run follows packets until there were enough or the context ends, and returns how
// many there were. Its table is removed when it returns, and when the process ends.
func Run(ctx context.Context, conn *kernel.Conn, o Options) (packets int, err error) {
	snapshot, err := conn.ReadStructure(o.Table, func(string) bool { return false })
	if err != nil {
		return 0, err
	}
	tracer, err := conn.Trace()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tracer.Close()) }()
	remove, err := mark(conn, o.Query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if o.Ready != nil {
		o.Ready()
	}
	f := follower{options: &o, rules: RulesOf(snapshot.Table), packets: map[uint32]*following{}}
	err = f.follow(ctx, tracer)
	return f.ended, err
}

// mark adds the table, in place of one that was left, and returns how to remove it.
func mark(conn *kernel.Conn, q explain.Query) (remove func() error, err error) {
	t := table(q)
	tx := nft.NewTransaction(t)
	tx.ReplaceTable()
	for _, s := range t.Sets {
		tx.AddSet(s)
	}
	for _, c := range t.Chains {
		tx.AddChain(c)
	}
	_, err = conn.Commit(tx)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("add table inet %s: another trace runs on this node", TableName)
	}
	if err != nil {
		return nil, fmt.Errorf("add table inet %s: %w", TableName, err)
	}
	return func() error {
		tx := nft.NewTransaction(t)
		tx.DeleteTable()
		_, err := conn.Commit(tx)
		return err
	}, nil
}

// follower puts events together to packets.
type follower struct {
	options *Options
	rules   Rules
	packets map[uint32]*following
	begun   int
	ended   int
}

type following struct {
	packet  Packet
	skipped kernel.TraceEvent // the last event, if it was no news
	last    time.Time
}

func (f *follower) follow(ctx context.Context, tracer *kernel.Tracer) error {
	for !f.done() && ctx.Err() == nil {
		next, cancel := context.WithTimeout(ctx, pause/2)
		e, err := tracer.Next(next)
		cancel()
		switch {
		case err == nil:
			f.event(&e)
		case next.Err() == nil:
			return err
		}
		if err := f.flush(time.Now().Add(-pause)); err != nil {
			return err
		}
	}
	f.drain(tracer)
	return f.flush(time.Now())
}

// drain takes the events that have come and were not read yet.
func (f *follower) drain(tracer *kernel.Tracer) {
	ctx, cancel := context.WithTimeout(context.Background(), pause/4)
	defer cancel()
	for !f.done() {
		e, err := tracer.Next(ctx)
		if err != nil {
			return
		}
		f.event(&e)
	}
}

func (f *follower) done() bool { return f.options.Count > 0 && f.ended >= f.options.Count }

func (f *follower) event(e *kernel.TraceEvent) {
	p := f.packets[e.ID]
	if p == nil {
		if f.options.Count > 0 && f.begun >= f.options.Count {
			return // enough have begun
		}
		f.begun++
		p = &following{packet: Packet{ID: fmt.Sprintf("%08x", e.ID)}}
		f.packets[e.ID] = p
	}
	p.last = time.Now()
	atEnd := e.Kind == kernel.TraceRule && e.Rule == 0 // behind the last rule of a chain: no news
	switch {
	case e.Table == TableName && p.packet.Flow == "":
		p.packet.Flow = flowOf(e)
	case e.Table != TableName && !atEnd:
		p.inherit(e)
		p.packet.add(e, f.rules)
	}
	p.skipped = kernel.TraceEvent{}
	if atEnd {
		p.skipped = *e
	}
}

// inherit gives an event what only the first one of its base chain has, if that one
// was skipped.
func (p *following) inherit(e *kernel.TraceEvent) {
	first := &p.skipped
	if len(e.Network) > 0 || first.Table != e.Table || first.Chain != e.Chain {
		return
	}
	e.Network, e.Transport, e.In, e.Out = first.Network, first.Transport, first.In, first.Out
}

// flush visits the packets whose last event is older.
func (f *follower) flush(before time.Time) error {
	for id, p := range f.packets {
		if p.last.After(before) {
			continue
		}
		delete(f.packets, id)
		f.ended++
		if err := f.options.Visit(&p.packet); err != nil {
			return err
		}
	}
	return nil
}
