package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// observer reads the node's table, and hears of each commit to it.
type observer struct {
	node   *testnet.Host
	dir    string
	config proxy.Config
	conn   *kernel.Conn
	extra  []netip.Addr // that the node has besides its own

	mu      sync.Mutex
	commits []commit
}

// commit is a change of the table.
type commit struct {
	at      time.Time
	foreign bool // by nft
	missed  bool // nobody knows by whom
}

func observe(ctx context.Context, node *testnet.Host, dir string, c proxy.Config) (*observer, error) {
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		return nil, err
	}
	o := &observer{node: node, dir: dir, config: c, conn: conn}
	monitor, err := conn.Watch(tableName)
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		defer monitor.Close()
		for {
			f, err := monitor.Next(ctx)
			if err != nil {
				return
			}
			o.mu.Lock()
			o.commits = append(o.commits, commit{time.Now(), f.Process == "nft", f.Missed})
			o.mu.Unlock()
		}
	}()
	return o, nil
}

func (o *observer) addrs() []netip.Addr { return slices.Concat(o.node.Addrs(), o.extra) }

func (o *observer) close() { o.conn.Close() }

// table reads the table, and again while others write.
func (o *observer) table(ctx context.Context) (*nft.Table, error) {
	for {
		snapshot, err := o.conn.ReadTable(tableName)
		if err == nil || ctx.Err() != nil {
			return snapshot.Table, err
		}
		pause(ctx, time.Millisecond)
	}
}

// await waits until check finds nothing wrong in a table, and returns when that
// table was read. (When the reading began is of no use: it begins again while
// others write.)
func (o *observer) await(ctx context.Context, check func(have *nft.Table) string) (time.Time, error) {
	problem := "the table was not read"
	for {
		have, err := o.table(ctx)
		read := time.Now()
		if err == nil {
			if problem = check(have); problem == "" {
				return read, nil
			}
		}
		if ctx.Err() != nil {
			return read, errors.Join(fmt.Errorf("%w: %s", ctx.Err(), problem), err)
		}
		pause(ctx, time.Millisecond)
	}
}

// serving waits until nothing stands between the clients and their services.
func (o *observer) serving(ctx context.Context) (time.Time, error) {
	want, err := wanted(o.config, o.dir, o.addrs())
	if err != nil {
		return time.Time{}, err
	}
	return o.await(ctx, func(have *nft.Table) string { return hidden(have, want) })
}

// equal waits until the table equals one computed from nothing.
func (o *observer) equal(ctx context.Context) error {
	want, err := wanted(o.config, o.dir, o.addrs())
	if err != nil {
		return err
	}
	_, err = o.await(ctx, func(have *nft.Table) string {
		if d := difference(have, want); len(d) > 0 {
			return fmt.Sprintf("%d differences, the first: %q", len(d), d[:min(len(d), 5)])
		}
		return ""
	})
	return err
}

// gap is the time from the first foreign commit since begin to the last one of
// the agent before the table was seen to serve: at most so long was it damaged.
// It is 0 if there was no foreign commit, or none of the agent's after it.
func (o *observer) gap(begin, served time.Time) (gap time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var damaged time.Time
	for _, c := range o.commits {
		switch {
		case c.at.Before(begin) || c.at.After(served):
		case c.missed:
			return 0
		case c.foreign && damaged.IsZero():
			damaged = c.at
		case !c.foreign && !damaged.IsZero():
			gap = c.at.Sub(damaged)
		}
	}
	return gap
}
