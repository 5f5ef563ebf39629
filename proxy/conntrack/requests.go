package conntrack

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// target is the original destination of flows: a frontend whose protocol is UDP.
type target = netip.AddrPort

func targetOf(k model.FrontendKey) target { return netip.AddrPortFrom(k.Addr.Unmap(), k.Port) }

// passesPerRequest is how often a request is carried out, and repeatAfter the
// time between: longer than a packet takes from the hook that translates it to
// the one that enters its flow, also on a machine that is short of CPU.
const (
	passesPerRequest = 2
	repeatAfter      = time.Second
)

// request is one frontend whose flows have to be looked at.
type request struct {
	serving []model.Backend // sorted
	passes  int             // still to do, 1 or more
	due     time.Time       // of the next pass
}

// requests is all that remains to be done. A request for a target that waits is
// replaced, which makes done tell old from new by the pointer.
type requests map[target]*request

// batch is the requests of one pass, as they were when it began.
type batch map[target]*request

func (r requests) add(f *Frontend, now time.Time) {
	r[targetOf(f.Key)] = &request{serving: sorted(f.Serving), passes: passesPerRequest, due: now}
}

// amend changes what serves, if a request waits.
func (r requests) amend(f *Frontend) {
	if q, ok := r[targetOf(f.Key)]; ok {
		q.serving = sorted(f.Serving)
	}
}

// take lists what is due.
func (r requests) take(now time.Time) batch {
	var b batch
	for t, q := range r {
		if q.due.After(now) {
			continue
		}
		if b == nil {
			b = make(batch, len(r))
		}
		b[t] = q
	}
	return b
}

// done counts a pass that is complete. Requests that were replaced meanwhile
// stay as they are: the pass may have looked at the old ones.
func (r requests) done(b batch, now time.Time) {
	for t, q := range b {
		if r[t] != q {
			continue
		}
		if q.passes--; q.passes == 0 {
			delete(r, t)
			continue
		}
		q.due = now.Add(repeatAfter)
	}
}

// next is when the first request is due; ok is false if none waits.
func (r requests) next() (due time.Time, ok bool) {
	for _, q := range r {
		if !ok || q.due.Before(due) {
			due, ok = q.due, true
		}
	}
	return due, ok
}

// serves reports whether flows from the target to the backend stay.
func (r requests) serves(t target, b model.Backend) bool {
	_, found := slices.BinarySearchFunc(r[t].serving, b, model.Backend.Compare)
	return found
}

// sorted is the list itself if it is sorted, as it should be: on an unsorted one
// a search would miss backends, and flows to them would be deleted.
func sorted(list []model.Backend) []model.Backend {
	if slices.IsSortedFunc(list, model.Backend.Compare) {
		return list
	}
	list = slices.Clone(list)
	slices.SortFunc(list, model.Backend.Compare)
	return list
}

// pace says when the next pass may begin.
type pace struct {
	earliest time.Time
	backoff  time.Duration // the last one, 0 after a success
}

// The bounds of the back-off after failures, and how many times as long as a
// pass took the cleaner rests after it: under a flood of changes it takes at most
// a fifth of one CPU.
const (
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = time.Minute
	restPerPass  = 4
)

func (p *pace) succeeded(begin, end time.Time) {
	p.backoff = 0
	p.earliest = end.Add(restPerPass * end.Sub(begin))
}

func (p *pace) failed(end time.Time) {
	p.backoff = min(max(firstBackoff, 2*p.backoff), mostBackoff)
	p.earliest = end.Add(p.backoff)
}
