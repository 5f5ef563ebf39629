package simulation

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// fault is what a transaction meets instead of a plain success.
type fault uint8

const (
	noFault         fault = iota
	rejected              // the kernel refuses it
	uncertainBefore       // the answer is lost, and nothing was applied
	uncertainAfter        // the answer is lost, but it was applied
	uncertainHalf         // it was cut, and only a first part was applied
	readFails             // refused, and the next reading fails too
	readInterrupted       // refused, and others write while the table is read
)

func (f fault) String() string {
	return [...]string{
		"", "rejected", "uncertain, nothing applied", "uncertain, applied", "uncertain, half applied",
		"rejected, then a reading fails", "rejected, then readings are interrupted",
	}[f]
}

// dataplane is what the proxy writes to: the strict kernel in memory, and the
// real one beside it if there is one. Both must agree on each transaction. The
// player looks at its fields while the proxy waits.
type dataplane struct {
	mu sync.Mutex // the proxy wakes by itself for retries

	memory *memory
	real   *kernel.Conn // nil: memory only

	next        fault // what the next commit meets
	failReads   int   // how many readings fail
	interrupted int   // how many readings are interrupted

	commits, operations int
	violations          []string // what must never happen
}

var errInjected = errors.New("injected failure")

// Commit implements proxy.Dataplane.
func (d *dataplane) Commit(tx *nft.Transaction) (kernel.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.next
	d.next = noFault
	switch f {
	case readFails:
		d.failReads = 1
	case readInterrupted:
		d.interrupted = 3
	}
	switch f {
	case rejected, readFails, readInterrupted:
		return kernel.Result{}, &kernel.Error{Table: tx.Table.Name, Whole: true, Errno: unix.EINVAL, Message: errInjected.Error()}
	case uncertainBefore:
		return kernel.Result{}, fmt.Errorf("%w: %w", kernel.ErrUncertain, errInjected)
	case uncertainHalf:
		if half, ok := firstHalf(tx); ok {
			if _, err := d.commit(half); err != nil {
				return kernel.Result{}, err
			}
		}
		return kernel.Result{}, fmt.Errorf("%w: %w", kernel.ErrUncertain, errInjected)
	}
	result, err := d.commit(tx)
	if err == nil {
		d.violations = append(d.violations, rulesettest.Emptied(d.memory.elements)...)
	}
	if err == nil && f == uncertainAfter {
		return kernel.Result{}, fmt.Errorf("%w: %w", kernel.ErrUncertain, errInjected)
	}
	return result, err
}

// expect sets what the next transaction meets.
func (d *dataplane) expect(f fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = f
}

// commit applies a transaction to both kernels.
func (d *dataplane) commit(tx *nft.Transaction) (kernel.Result, error) {
	d.commits++
	result, err := d.memory.Commit(tx)
	if err != nil {
		d.violate("the kernel in memory refuses: %v", err)
	} else {
		d.operations += tx.ElementCount()
	}
	if d.real == nil {
		return result, err
	}
	realResult, realErr := d.real.Commit(tx)
	if realErr != nil {
		d.violate("the real kernel refuses: %v", realErr)
	}
	return realResult, realErr
}

func (d *dataplane) violate(format string, args ...any) {
	d.violations = append(d.violations, "! "+fmt.Sprintf(format, args...))
}

// firstHalf is a transaction with the first half of the element operations, as a
// cut leaves it. ok is false for one that changes more than elements.
func firstHalf(tx *nft.Transaction) (half *nft.Transaction, ok bool) {
	half = nft.NewTransaction(tx.Table)
	left := tx.ElementCount() / 2
	added := map[string]bool{}
	for _, op := range tx.Operations() {
		n := min(left, len(op.Elements))
		left -= n
		switch {
		case op.Kind == nft.AddElements:
			half.AddElements(op.Set, op.Elements[:n]...)
			added[op.Set.Name] = true
		case op.Kind == nft.DeleteElements && !added[op.Set.Name]:
			half.DeleteElementsFirst(op.Set, op.Elements[:n]...)
		case op.Kind == nft.DeleteElements:
			half.DeleteElements(op.Set, op.Elements[:n]...)
		default:
			return nil, false
		}
	}
	return half, !half.IsEmpty()
}

// ReadStructure implements proxy.Dataplane.
func (d *dataplane) ReadStructure(table string, withElements func(set string) bool) (kernel.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failReads > 0 {
		d.failReads--
		return kernel.Snapshot{}, errInjected
	}
	if d.real != nil {
		return d.real.ReadStructure(table, withElements)
	}
	return d.memory.ReadStructure(table, withElements)
}

// ReadSet implements proxy.Dataplane.
func (d *dataplane) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	read := d.memory.ReadSet
	if d.real != nil {
		read = d.real.ReadSet
	}
	generation, err := read(table, set, visit)
	if err == nil && d.interrupted > 0 {
		d.interrupted--
		return 0, kernel.ErrInterrupted
	}
	return generation, err
}
