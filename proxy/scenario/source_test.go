package scenario

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// feed is the source that a scenario drives.
type feed struct {
	first model.Update
	ready chan struct{}
	sink  source.Sink
}

func (f *feed) Run(ctx context.Context, sink source.Sink) error {
	sink.Apply(f.first)
	sink.Synced()
	f.sink = sink
	close(f.ready)
	<-ctx.Done()
	return nil
}

func (f *feed) apply(u model.Update) {
	<-f.ready
	f.sink.Apply(u)
}

// hostAddrs is a source of the host's addresses that remembers what it told.
type hostAddrs struct {
	source.Source
	mu   sync.Mutex
	told []netip.Addr
}

func (h *hostAddrs) Run(ctx context.Context, sink source.Sink) error {
	return h.Source.Run(ctx, &addrSink{sink, h})
}

type addrSink struct {
	source.Sink
	addrs *hostAddrs
}

func (s *addrSink) Apply(u model.Update) {
	if u.HostAddrs != nil {
		s.addrs.mu.Lock()
		s.addrs.told = *u.HostAddrs
		s.addrs.mu.Unlock()
	}
	s.Sink.Apply(u)
}

func (h *hostAddrs) list() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told)
}

// await waits until the source has told that addresses came and went.
func (h *hostAddrs) await(t *testing.T, came, went []netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		told := h.list()
		has := func(a netip.Addr) bool { return slices.Contains(told, a) }
		hasNot := func(a netip.Addr) bool { return !has(a) }
		if !slices.ContainsFunc(came, hasNot) && !slices.ContainsFunc(went, has) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the host's addresses are %v; %v should be there and %v gone", told, came, went)
		}
	}
}
