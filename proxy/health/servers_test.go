package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/health"
)

// counted counts answers to probes.
type counted struct{ healthz200, healthz503, livez200, livez503 atomic.Int32 }

func (c *counted) Healthz(status int) { pick(status, &c.healthz200, &c.healthz503) }
func (c *counted) Livez(status int)   { pick(status, &c.livez200, &c.livez503) }

func pick(status int, ok, bad *atomic.Int32) {
	if status == http.StatusOK {
		ok.Add(1)
	} else {
		bad.Add(1)
	}
}

func TestProbes(t *testing.T) {
	node, client := newLab(t)
	count := &counted{}
	r := run(t, health.Options{HealthzAddress: health.DefaultHealthzAddress, Listen: node.Listen, Probes: count})

	expect := func(path string, status int, fields map[string]any) {
		t.Helper()
		for _, host := range []string{"192.0.2.10", "[2001:db8:2::10]"} {
			g := get(t, client, "http://"+host+":10256"+path)
			if g.status != status {
				t.Errorf("%s%s: status %d, want %d", host, path, g.status, status)
			}
			if g.header.Get("Content-Type") != "application/json" || g.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s%s: headers %v", host, path, g.header)
			}
			body := g.json(t)
			for _, name := range []string{"lastUpdated", "currentTime"} {
				if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(body[name])); err != nil {
					t.Errorf("%s%s: %s: %v", host, path, name, err)
				}
			}
			if status == http.StatusOK && body["lastUpdated"] != body["currentTime"] {
				t.Errorf("%s%s: a good answer is not of now: %v", host, path, body)
			}
			delete(body, "lastUpdated")
			delete(body, "currentTime")
			if diff := cmp.Diff(fields, body); diff != "" {
				t.Errorf("%s%s (-want +got):\n%s", host, path, diff)
			}
		}
	}
	type m = map[string]any
	expect("/readyz", 503, m{"healthy": true, "ready": false})
	expect("/healthz", 200, m{"healthy": true, "nodeEligible": true})
	expect("/livez", 200, m{"healthy": true})

	r.State.Began(time.Now())
	r.State.Synced(time.Now())
	expect("/readyz", 200, m{"healthy": true, "ready": true})

	r.State.SetNodeLeaving(true)
	expect("/healthz", 503, m{"healthy": true, "nodeEligible": false})
	expect("/livez", 200, m{"healthy": true})
	expect("/readyz", 200, m{"healthy": true, "ready": true})
	r.State.SetNodeLeaving(false)

	r.State.Queued(time.Now().Add(-time.Hour))
	expect("/healthz", 503, m{"healthy": false, "nodeEligible": true})
	expect("/livez", 503, m{"healthy": false})
	expect("/readyz", 200, m{"healthy": false, "ready": true})

	got := []int32{count.healthz200.Load(), count.healthz503.Load(), count.livez200.Load(), count.livez503.Load()}
	if diff := cmp.Diff([]int32{2, 4, 4, 2}, got); diff != "" {
		t.Errorf("counted healthz 200, 503, livez 200, 503 (-want +got):\n%s", diff)
	}
}

func TestUnhealthyTellsWhenItWasWell(t *testing.T) {
	node, client := newLab(t)
	r := run(t, health.Options{HealthzAddress: ":10256", Listen: node.Listen})
	synced := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	r.State.Began(synced)
	r.State.Synced(synced)
	r.State.Queued(synced)
	if got := get(t, client, "http://192.0.2.10:10256/healthz").json(t)["lastUpdated"]; got != "2020-01-02T03:04:05Z" {
		t.Errorf("lastUpdated %v", got)
	}
}

func TestDiagnostics(t *testing.T) {
	node, client := newLab(t)
	o := health.Options{
		MetricsAddress: health.DefaultMetricsAddress, Listen: node.Listen,
		Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1") }),
		Configz:  func() any { return map[string]any{"kubeproxy.config.k8s.io": map[string]string{"mode": "nftables"}} },
		Handlers: map[string]http.Handler{"/status": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })},
	}
	run(t, o)
	const base = "http://127.0.0.1:10249"
	for path, body := range map[string]string{
		"/healthz":   "ok",
		"/proxyMode": "nftables",
		"/metrics":   "up 1",
		"/configz":   `{"kubeproxy.config.k8s.io":{"mode":"nftables"}}`,
		"/status":    "fine",
	} {
		if g := get(t, node, base+path); g.status != http.StatusOK || g.body != body {
			t.Errorf("%s: %d %q, want 200 %q", path, g.status, g.body, body)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/", "/livez"} {
		if g := get(t, node, base+path); g.status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, g.status)
		}
	}
	refused(t, client, "192.0.2.10:10249") // it is for operators on the node
}

func TestProfilingWhenAsked(t *testing.T) {
	node, _ := newLab(t)
	run(t, health.Options{MetricsAddress: "127.0.0.1:10249", Listen: node.Listen, Profiling: true})
	const base = "http://127.0.0.1:10249/debug/pprof/"
	if g := get(t, node, base+"goroutine?debug=1"); g.status != http.StatusOK || !strings.Contains(g.body, "goroutine profile") {
		t.Errorf("%d %q", g.status, g.body)
	}
	if g := get(t, node, base+"cmdline"); g.status != http.StatusOK {
		t.Errorf("%d %q", g.status, g.body)
	}
}

func TestBindIsRetried(t *testing.T) {
	node, client := newLab(t)
	other, err := node.Listen("tcp", ":10256")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, health.Options{HealthzAddress: ":10256", MetricsAddress: "127.0.0.1:10249", Listen: node.Listen})
	eventually(t, "a report", func() bool { return len(r.reported()) > 0 })
	get(t, node, "http://127.0.0.1:10249/healthz") // one server's failure is not the other's
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if g := get(t, client, "http://192.0.2.10:10256/healthz"); g.status != http.StatusOK {
		t.Errorf("status %d", g.status)
	}
	failures := r.reported()
	if len(failures) != 1 {
		t.Fatalf("reported %d times, want once: %v", len(failures), failures)
	}
	f := failures[0]
	if f.Server != "healthz" || f.Address != ":10256" || !errors.Is(f, unix.EADDRINUSE) {
		t.Errorf("%+v", f)
	}
	if msg := f.Error(); !strings.HasPrefix(msg, "serve healthz on :10256: ") || !strings.Contains(msg, "ss -ltnp") {
		t.Errorf("message %q", msg)
	}
}

func TestBindHardFail(t *testing.T) {
	node, _ := newLab(t)
	other, err := node.Listen("tcp", "127.0.0.1:10249")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	r := run(t, health.Options{
		HealthzAddress: ":10256", MetricsAddress: "127.0.0.1:10249", Listen: node.Listen, BindHardFail: true,
	})
	var failure *health.BindError
	if err := <-r.Ended; !errors.As(err, &failure) || failure.Server != "metrics" {
		t.Errorf("Run: %v, want that the metrics server can't be bound", err)
	}
	refused(t, node, "127.0.0.1:10256") // all ended
}

// serving begins a request that the handler holds until release is closed.
func serving(t *testing.T, release <-chan struct{}) (answer <-chan error, cancel context.CancelFunc, ended <-chan error) {
	t.Helper()
	node, _ := newLab(t)
	inside := make(chan struct{})
	servers := health.New(health.Options{
		State: health.NewState(time.Minute), MetricsAddress: "127.0.0.1:10249", Listen: node.Listen,
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(inside)
			<-release
		}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- servers.Run(ctx) }()
	get(t, node, "http://127.0.0.1:10249/healthz")
	failed := make(chan error, 1)
	go func() {
		_, err := tryGet(httpClient(node), "http://127.0.0.1:10249/metrics")
		failed <- err
	}()
	<-inside
	return failed, cancel, result
}

func TestAnswersAreFinishedAtTheEnd(t *testing.T) {
	release := make(chan struct{})
	answer, cancel, ended := serving(t, release)
	cancel()
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the answer was cut off: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestEndDoesNotWaitForever(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	answer, cancel, ended := serving(t, release)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-answer; err == nil {
		t.Error("an answer without an end")
	}
}

// The loop's calls must not need a server, and the zero of most options works.
func TestNothingToServe(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := health.New(health.Options{State: health.NewState(time.Minute)})
	s.SetServices(nil)
	s.SetNodeAddrs(nil)
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
