package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// watcher is a source that runs against an API server, and a sink for it that
// keeps what it was told.
type watcher struct {
	*testing.T
	*apiServer
	cluster *cluster
	stop    func() // ends the source and waits for it

	mu       sync.Mutex
	changed  chan struct{} // has room for one
	services map[string]*model.Service
	slices   map[string]*model.EndpointSlice
	node     *model.Node
	cidrs    *[]netip.Prefix
	problems map[model.ObjectRef][]model.Problem
	synced   int
	told     []string // every change of a Service or slice: "+ns/name" or "-ns/name"
	log      []string
}

// quick is the patience of tests.
var quick = patience{first: time.Millisecond, last: 50 * time.Millisecond, absent: 20 * time.Millisecond}

// watching starts a source.
func watching(t *testing.T, s *apiServer) *watcher {
	t.Helper()
	w := &watcher{T: t, apiServer: s, changed: make(chan struct{}, 1), services: map[string]*model.Service{},
		slices: map[string]*model.EndpointSlice{}, problems: map[model.ObjectRef][]model.Problem{}}
	c, err := newCluster(s.config(), Options{NodeName: "node-a", Log: w.logger()})
	if err != nil {
		t.Fatal(err)
	}
	c.patience = quick
	w.cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, w) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the source ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the source does not end with its context")
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *watcher) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.log = append(w.log, args)
	}, funcr.Options{})
}

func (w *watcher) Apply(u model.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep(w, w.services, u.Services)
	keep(w, w.slices, u.Slices)
	if u.Node != nil {
		w.node = u.Node
	}
	if u.ServiceCIDRs != nil {
		w.cidrs = u.ServiceCIDRs
	}
	for ref, p := range u.Problems {
		if w.problems[ref] = p; len(p) == 0 {
			delete(w.problems, ref)
		}
	}
	w.poke()
}

func keep[K interface {
	comparable
	fmt.Stringer
}, V any](w *watcher, have map[string]*V, changes map[K]*V) {
	for name, v := range changes {
		if v == nil {
			delete(have, name.String())
			w.told = append(w.told, "-"+name.String())
			continue
		}
		have[name.String()] = v
		w.told = append(w.told, "+"+name.String())
	}
}

func (w *watcher) Synced() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.synced++
	w.poke()
}

func (w *watcher) poke() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// await waits until nothing is missing of what the function looks for.
func (w *watcher) await(missing func() string) {
	w.Helper()
	deadline := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		m := missing()
		w.mu.Unlock()
		if m == "" {
			return
		}
		select {
		case <-w.changed:
		case <-time.After(20 * time.Millisecond): // what is looked for may be in the log
		case <-deadline:
			w.Fatalf("not told in time (-want +got)\n%s", m)
		}
	}
}

func (w *watcher) awaitServices(want ...string) {
	w.Helper()
	w.await(func() string { return cmp.Diff(want, slices.Sorted(maps.Keys(w.services))) })
}

func (w *watcher) awaitSynced() {
	w.Helper()
	w.await(func() string { return cmp.Diff(1, w.synced) })
}

// awaitLog waits for a line of the log.
func (w *watcher) awaitLog(words ...string) {
	w.Helper()
	w.await(func() string {
		for _, line := range w.log {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return ""
			}
		}
		return fmt.Sprintf("no line with %q in\n%s", words, strings.Join(w.log, "\n"))
	})
}

// forget forgets what was told so far, not what is.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = nil
}

// wantTold holds what was told since to the changes wanted, in whatever order.
func (w *watcher) wantTold(want ...string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.told)
	if d := cmp.Diff(want, w.told); d != "" {
		w.Errorf("told (-want +got)\n%s", d)
	}
}
