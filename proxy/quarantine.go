package proxy

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// quarantine keeps one Service that the kernel refuses from blocking the others.
// A refusal may also come from what another process did to the table, so the
// table is read first; a Service that is refused again right after that is set
// aside: what the kernel has of it stays, and it is tried again when its objects
// change.
type quarantine struct {
	suspects map[model.ServiceName]int // refusals in a row
	aside    map[model.ServiceName]error
	nobody   int // refusals in a row that named nobody
}

// refusals is how often in a row the kernel must refuse a Service.
const refusals = 2

func newQuarantine() quarantine {
	return quarantine{suspects: map[model.ServiceName]int{}, aside: map[model.ServiceName]error{}}
}

// refused is a transaction that the kernel has refused, with the services that
// were in it.
type refused struct {
	names []model.ServiceName
	err   *kernel.Error
}

func (r *refused) Error() string { return r.err.Error() }
func (r *refused) Unwrap() error { return r.err }

// asRefusal tells a refusal that an object may be the cause of from other
// failures of a commit.
func asRefusal(err error, names []model.ServiceName) error {
	var kerr *kernel.Error
	if errors.Is(err, kernel.ErrUncertain) || !errors.As(err, &kerr) || kerr.Whole || kerr.Errno == unix.EPERM {
		return err
	}
	return &refused{names, kerr}
}

// blame finds the Service that a failure is due to, and sets it aside when it has
// failed often enough. It returns it then.
func (p *Proxy) blame(err error) (name model.ServiceName, isAside bool) {
	var r *refused
	if !errors.As(err, &r) {
		return name, false
	}
	q := &p.quarantine
	switch owner := p.tracker.OwnerOf(r.err.Set, r.err.Element); {
	case owner != nil:
		name = owner.Name
	case len(r.names) == 1:
		name = r.names[0]
	default:
		q.nobody++
		return name, false
	}
	if q.suspects[name]++; q.suspects[name] < refusals {
		return name, false
	}
	q.aside[name] = r.err
	p.tracker.Forget(name)
	delete(p.dirty, name)
	return name, true
}

// settle says that all is well: what was suspected was not to blame.
func (q *quarantine) settle() {
	clear(q.suspects)
	q.nobody = 0
}

// release lets a Service try again, since its objects changed.
func (q *quarantine) release(name model.ServiceName) {
	delete(q.aside, name)
	delete(q.suspects, name)
}

func (q *quarantine) has(name model.ServiceName) bool { _, ok := q.aside[name]; return ok }

// chunk is how many services may be in one plan: one at a time finds who is to
// blame, but loads a table that another process has emptied slowly.
func (q *quarantine) chunk() int {
	if q.nobody >= refusals {
		return 1
	}
	return chunk
}
