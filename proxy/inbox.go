package proxy

import (
	"maps"
	"sync"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// inbox is the edge between sources, which call from any goroutine, and the
// loop. It merges updates, so that what waits is bounded by the number of
// objects, and the last state of each object wins.
type inbox struct {
	mu      sync.Mutex
	update  model.Update
	waiting int // sources that have not delivered everything yet
	poke    chan struct{}
	queued  func() // told of each update; may be nil
}

func newInbox() *inbox { return &inbox{poke: make(chan struct{}, 1)} }

// sink is a new source's way in. All sinks must exist before the first is used.
func (b *inbox) sink() source.Sink {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting++
	return &sink{inbox: b}
}

type sink struct {
	*inbox
	once sync.Once
}

// Apply implements source.Sink.
func (b *inbox) Apply(u model.Update) {
	b.mu.Lock()
	merge(&b.update, &u)
	b.mu.Unlock()
	if b.queued != nil {
		b.queued()
	}
	b.signal()
}

// Synced implements source.Sink.
func (s *sink) Synced() {
	s.once.Do(func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
		s.signal()
	})
}

func (b *inbox) signal() {
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

// complete reports whether every source has delivered everything it had.
func (b *inbox) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting == 0
}

// take empties the inbox. synced reports whether every source has delivered
// everything it had at the start.
func (b *inbox) take() (u model.Update, synced bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, b.update = b.update, model.Update{}
	return u, b.waiting == 0
}

func merge(into, u *model.Update) {
	into.Services = mergeMap(into.Services, u.Services)
	into.Slices = mergeMap(into.Slices, u.Slices)
	into.Problems = mergeMap(into.Problems, u.Problems)
	if u.Node != nil {
		into.Node = u.Node
	}
	if u.ServiceCIDRs != nil {
		into.ServiceCIDRs = u.ServiceCIDRs
	}
	if u.HostAddrs != nil {
		into.HostAddrs = u.HostAddrs
	}
}

func mergeMap[K comparable, V any](into, from map[K]V) map[K]V {
	if into == nil {
		return maps.Clone(from)
	}
	maps.Copy(into, from)
	return into
}
