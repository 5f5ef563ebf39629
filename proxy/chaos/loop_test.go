package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// loop is the loop of package proxy in this process, on a real kernel that fails
// now and then.
type loop struct {
	node   *testnet.Host
	dir    string
	config proxy.Config

	faulty faulty
	conns  []*kernel.Conn
	cancel context.CancelFunc
	ended  chan error
	ran    chan struct{} // closed when the table is complete

	mu       sync.Mutex
	repairs  int
	problems []string
}

func newLoop(node *testnet.Host, dir string, seed uint64) *loop {
	return &loop{node: node, dir: dir, config: config(false), faulty: faulty{
		rng: rand.New(rand.NewPCG(seed, 1<<62)), counts: map[string]int{}}}
}

// start ignores clock and limit, which belong to a process.
func (l *loop) start(int, int) error {
	l.conns = nil
	for range 2 {
		conn, err := kernel.Dial(kernel.Options{NetNS: l.node.FD()})
		if err != nil {
			return err
		}
		l.conns = append(l.conns, conn)
	}
	l.faulty.Conn = l.conns[0]
	logger := l.logger()
	p := proxy.New(l.config, &l.faulty, logger,
		manifests.New(l.dir, manifests.Options{NodeName: l.config.NodeName, Log: logr.Discard()}),
		hostaddrs.New(hostaddrs.Options{NetNS: l.node.FD(), Log: logr.Discard()}))
	p.EnforceBindings(l.conns[1])
	p.CleanFlows(conntrack.New(conntrack.Options{NetNS: l.node.FD(), Log: logr.Discard()}))
	p.RepairForeignChanges(l.conns[0])
	l.ran, l.ended = make(chan struct{}), make(chan error, 1)
	ran := l.ran
	p.WhenComplete(func() { close(ran) })
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	ended := l.ended
	go func() { ended <- p.Run(ctx) }()
	return nil
}

// logger counts repairs.
func (l *loop) logger() logr.Logger {
	return funcr.NewJSON(func(line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if containsRepair(line) {
			l.repairs++
		}
	}, funcr.Options{})
}

func (l *loop) ready(ctx context.Context) error {
	select {
	case <-l.ran:
		return nil
	case err := <-l.ended:
		l.ended <- err
		return fmt.Errorf("the loop has ended: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *loop) stop(bool) error {
	l.cancel()
	err := <-l.ended
	for _, c := range l.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (l *loop) suspend(bool) error { return errors.New("a loop can't be suspended") }

func (l *loop) health() (repairs int, problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.repairs, l.problems
}

// faulty is a kernel that fails: it refuses a transaction, or an element of it,
// its answer is lost, the transaction itself is lost, or a dump fails.
type faulty struct {
	*kernel.Conn

	mu     sync.Mutex
	rng    *rand.Rand
	chance float64        // that an operation fails
	counts map[string]int // of injected errors
}

// set makes operations fail with a chance from 0 to 1.
func (f *faulty) set(chance float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chance = chance
}

// draw decides whether and how an operation fails: "" is not at all.
func (f *faulty) draw(kinds ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rng.Float64() >= f.chance {
		return ""
	}
	kind := kinds[f.rng.IntN(len(kinds))]
	f.counts[kind]++
	return kind
}

func (f *faulty) Commit(tx *nft.Transaction) (kernel.Result, error) {
	switch f.draw("refused", "element refused", "answer lost", "transaction lost") {
	case "refused":
		return kernel.Result{}, &kernel.Error{Operation: nft.AddElements, Table: tx.Table.Name, Errno: unix.ENOMEM, Whole: true}
	case "element refused":
		if err := f.refuse(tx); err != nil {
			return kernel.Result{}, err
		}
	case "answer lost":
		if _, err := f.Conn.Commit(tx); err != nil {
			return kernel.Result{}, err
		}
		return kernel.Result{}, fmt.Errorf("%w: no answer", kernel.ErrUncertain)
	case "transaction lost":
		return kernel.Result{}, fmt.Errorf("%w: socket lost", kernel.ErrUncertain)
	}
	return f.Conn.Commit(tx)
}

// refuse blames an element that the transaction adds.
func (f *faulty) refuse(tx *nft.Transaction) error {
	for _, op := range tx.Operations() {
		if op.Kind == nft.AddElements && len(op.Elements) > 0 {
			f.mu.Lock()
			at := f.rng.IntN(len(op.Elements))
			f.mu.Unlock()
			return &kernel.Error{Operation: op.Kind, Table: tx.Table.Name, Object: op.Set.Name, Set: op.Set, Element: &op.Elements[at], Errno: unix.ENOSPC}
		}
	}
	return nil
}

func (f *faulty) ReadStructure(table string, withElements func(string) bool) (kernel.Snapshot, error) {
	switch f.draw("dump failed", "dump interrupted") {
	case "dump failed":
		return kernel.Snapshot{}, fmt.Errorf("read table %s: %w", table, unix.ENOBUFS)
	case "dump interrupted":
		return kernel.Snapshot{}, fmt.Errorf("read table %s: %w", table, kernel.ErrInterrupted)
	}
	return f.Conn.ReadStructure(table, withElements)
}

func (f *faulty) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (uint32, error) {
	switch f.draw("dump failed", "dump interrupted") {
	case "dump failed":
		return 0, fmt.Errorf("read set %s: %w", set.Name, unix.ENOBUFS)
	case "dump interrupted":
		return 0, fmt.Errorf("read set %s: %w", set.Name, kernel.ErrInterrupted)
	}
	return f.Conn.ReadSet(table, set, visit)
}

// onLoops are the faults that need a loop in this process.
func onLoops(l *loop) []fault {
	return []fault{{"netlink errors while endpoints change", 6, func(a *adversary, _ context.Context) error {
		l.faulty.set([]float64{0.02, 0.1, 0.5}[a.rng.IntN(3)])
		err := a.cluster.burst(a.rng, 50+a.rng.IntN(250))
		l.faulty.set(0)
		return errors.Join(err, a.cluster.touch(a.rng)) // what was quarantined is tried again
	}}}
}
