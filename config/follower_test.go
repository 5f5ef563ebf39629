package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// followed is a follower that runs, with what it did.
type followed struct {
	*Follower
	t       *testing.T
	applied chan Running
	told    chan Report
	synced  chan struct{}
	refuse  atomic.Bool // whatever is applied
	deliver chan []Object
}

const head = "apiVersion: kube-vmap.io/v1alpha1\nkind: ProxyConfig\n"

// following runs a follower until the test ends.
func following(t *testing.T, file string, objects bool, wait time.Duration) *followed {
	t.Helper()
	f := &followed{t: t, applied: make(chan Running, 100), told: make(chan Report, 100), synced: make(chan struct{}), deliver: make(chan []Object)}
	opts := Options{Base: Running{Proxy: proxy.DefaultConfig(), Ownership: v1alpha1.OwnershipAuto}, File: file, Log: testr.New(t)}
	if objects {
		opts.Objects = func(ctx context.Context, deliver func([]Object)) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case list := <-f.deliver:
					deliver(list)
				}
			}
		}
	}
	var err error
	if f.Follower, err = New(opts); err != nil {
		t.Fatal(err)
	}
	f.patience = wait
	f.For(Agent{
		Apply: func(_ context.Context, r Running) error {
			if f.refuse.Load() {
				return errors.New("not on this node")
			}
			f.applied <- r
			return nil
		},
		Tell: func(r Report) { f.told <- r },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx, f); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *followed) Apply(model.Update) {}
func (f *followed) Synced() {
	select {
	case <-f.synced:
	default:
		close(f.synced)
	}
}

// node runs a source of the node's own objects to its end.
func (f *followed) node(labels map[string]string) {
	f.t.Helper()
	if err := f.Beside(nodeSource(labels)).Run(f.t.Context(), ignoring{}); err != nil {
		f.t.Fatal(err)
	}
}

type nodeSource map[string]string

func (n nodeSource) Run(_ context.Context, sink source.Sink) error {
	sink.Apply(model.Update{Node: &model.Node{Name: "node-a", Labels: n}})
	sink.Synced()
	return nil
}

type ignoring struct{}

func (ignoring) Apply(model.Update) {}
func (ignoring) Synced()            {}

// awaitCoalesce waits for a configuration.
func (f *followed) awaitCoalesce(want time.Duration) {
	f.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case r := <-f.applied:
			if r.Proxy.Coalesce == want {
				return
			}
		case <-deadline:
			f.t.Fatalf("not configured to %s", want)
		}
	}
}

// awaitReport waits for a report that says something, or nothing.
func (f *followed) awaitReport(text string) Report {
	f.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case r := <-f.told:
			if text == "" && r.Err == nil || text != "" && r.Err != nil && strings.Contains(r.Err.Error(), text) {
				return r
			}
		case <-deadline:
			f.t.Fatalf("not told: %q", text)
		}
	}
}

func TestFollowFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(head + "spec: {coalesce: 10ms}")
	f := following(t, file, false, time.Hour)
	if f.Start().Proxy.Coalesce != 10*time.Millisecond {
		t.Errorf("begins with %+v", f.Start())
	}
	f.node(nil)
	<-f.synced
	write(head + "spec: {coalesce: 20ms}")
	f.awaitCoalesce(20 * time.Millisecond)
	write(head + "spec: {coalesce: soon}")
	if r := f.awaitReport("spec.coalesce"); r.Running.Proxy.Coalesce != 20*time.Millisecond {
		t.Errorf("in force: %+v", r.Running)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.awaitReport("no such file")
	write(head + "spec: {coalesce: 30ms}")
	f.awaitCoalesce(30 * time.Millisecond)
	f.awaitReport("")
}

func TestNewRefusesABadFile(t *testing.T) {
	for _, text := range []string{"", "spec: [", head + "spec: {coalesce: 2s}"} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{File: file}); err == nil || !strings.HasPrefix(err.Error(), "--config "+file+": ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFollowObjects(t *testing.T) {
	list := func(specs ...string) (objects []Object) {
		for i, spec := range specs {
			objects = append(objects, Object{ProxyConfig: object(t, []string{"default", "one", "two"}[i], spec)})
		}
		return objects
	}
	f := following(t, "", true, time.Hour)
	f.deliver <- list("{coalesce: 10ms}", "{nodeSelector: {zone: edge}, coalesce: 20ms}")
	select {
	case <-f.synced:
		t.Error("began without the node's labels")
	case <-time.After(50 * time.Millisecond):
	}
	f.node(map[string]string{"zone": "edge"})
	f.awaitCoalesce(20 * time.Millisecond)
	<-f.synced
	f.node(map[string]string{"zone": "core"})
	f.awaitCoalesce(10 * time.Millisecond)

	f.node(map[string]string{"zone": "edge"})
	f.awaitCoalesce(20 * time.Millisecond)
	f.deliver <- list("{coalesce: 11ms}", "{nodeSelector: {zone: edge}, coalesce: 20ms}", "{nodeSelector: {zone: edge}, coalesce: 30ms}")
	if r := f.awaitReport("different values"); r.Running.Proxy.Coalesce != 20*time.Millisecond || r.Refused.Name != "two" || len(r.Objects) != 2 {
		t.Errorf("%+v", r)
	}
	unreadable := list("{coalesce: 40ms}")
	unreadable[0].Err = errors.New("spec.coalesce: is a number in JSON")
	f.deliver <- unreadable
	f.awaitReport("ProxyConfig default: spec.coalesce: is a number in JSON")

	f.refuse.Store(true)
	f.deliver <- list("{coalesce: 50ms}")
	if r := f.awaitReport("not on this node"); r.Running.Proxy.Coalesce != 20*time.Millisecond || r.Refused.Name != "default" {
		t.Errorf("%+v", r)
	}
	f.refuse.Store(false)
	f.deliver <- list("{coalesce: 50ms}", "{nodeSelector: {zone: core}}")
	f.awaitCoalesce(50 * time.Millisecond)
	f.deliver <- nil
	f.awaitCoalesce(proxy.DefaultCoalesce)
	f.awaitReport("")
}

// ProxyConfigs that do not come do not hold Services up for ever.
func TestFollowerDoesNotWaitForEver(t *testing.T) {
	f := following(t, "", true, 10*time.Millisecond)
	f.node(nil)
	select {
	case <-f.synced:
	case <-time.After(20 * time.Second):
		t.Fatal("waits")
	}
	f.deliver <- []Object{{ProxyConfig: object(t, "default", "{coalesce: 10ms}")}}
	f.awaitCoalesce(10 * time.Millisecond)
}
