package scenario

import (
	"slices"
	"sync"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
)

// recorder is a kernel with what was committed to it.
type recorder struct {
	*kernel.Conn
	t       *testing.T
	changed chan struct{} // pokes after a commit
	adopted chan struct{} // pokes when the proxy begins to read the table

	mu     sync.Mutex // held while the kernel commits, so that what can be read is recorded
	mirror mirror
	txs    []*nft.Transaction
}

// Commit implements proxy.Dataplane.
func (r *recorder) Commit(tx *nft.Transaction) (kernel.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result, err := r.Conn.Commit(tx)
	if err != nil {
		r.t.Errorf("the kernel refuses a transaction: %v", err)
		return result, err
	}
	if err := r.mirror.apply(tx); err != nil {
		r.t.Errorf("the kernel has taken what it should not: %v", err)
	}
	r.txs = append(r.txs, tx)
	poke(r.changed)
	return result, nil
}

// ReadStructure implements proxy.Dataplane.
func (r *recorder) ReadStructure(table string, withElements func(string) bool) (kernel.Snapshot, error) {
	poke(r.adopted)
	return r.Conn.ReadStructure(table, withElements)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// table is what the kernel has by all that was committed.
func (r *recorder) table() *nft.Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mirror.clone()
}

// take returns the transactions since the last time. Those that change only the
// marker's elements are the test's own, and those that only delete session-affinity
// bindings come whenever they are done: both are left out.
func (r *recorder) take() []*nft.Transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	txs := r.txs
	r.txs = nil
	return slices.DeleteFunc(txs, func(tx *nft.Transaction) bool {
		return !slices.ContainsFunc(tx.Operations(), func(op nft.Operation) bool { return !isMarker(&op) && !isBinding(&op) })
	})
}

func isBinding(op *nft.Operation) bool { return op.Set != nil && op.Set.Dynamic }

func isMarker(op *nft.Operation) bool {
	if op.Set == nil || op.Set.Name != "service-cidrs4" && op.Set.Name != "service-cidrs6" {
		return false
	}
	return !slices.ContainsFunc(op.Elements, func(e nft.Element) bool {
		text := e.Text(op.Set)
		return text != "198.18.0.0/15" && text != "2001:2::/48"
	})
}
