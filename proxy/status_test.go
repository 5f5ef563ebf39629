package proxy_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// status asks, and sees to it that JSON keeps everything.
func status(t *testing.T, p *proxy.Proxy) proxy.Status {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read proxy.Status
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, read); diff != "" {
		t.Errorf("JSON loses something: %s", diff)
	}
	return s
}

// TestStatus: what happens to a proxy shows in its status.
func TestStatus(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	ref := model.ObjectRef{Kind: "Service", Namespace: "shop", Name: "odd"}
	first := firstUpdate(webService(), webSlice(lab, "a1", "a2"))
	first.Problems = map[model.ObjectRef][]model.Problem{ref: {{Field: "spec.clusterIPs[0]", Message: "is no address"}}}
	f := newFeed(first)
	w := start(t, node, nodeConfig(), f)
	<-w.settled

	s := status(t, w.proxy)
	if !s.Ready || !s.Synced || s.Since.IsZero() || s.Services != 1 || s.Endpoints != 4 || s.Frontends == 0 || s.LastTransaction == nil || s.Generation == 0 {
		t.Errorf("after the start: %+v", s)
	}
	want := []proxy.QuarantinedObject{{Object: "Service shop/odd", Reason: "spec.clusterIPs[0]: is no address"}}
	if diff := cmp.Diff(want, s.Quarantined); diff != "" {
		t.Error(diff)
	}

	w.inject(func(*nft.Transaction, func() (kernel.Result, error)) (kernel.Result, error) {
		return kernel.Result{}, context.DeadlineExceeded
	})
	f.apply(sliceUpdate(webSlice(lab, "a1")))
	eventuallyStatus(t, w.proxy, "a failure", func(s proxy.Status) bool {
		return !s.Synced && s.Pending == 1 && s.LastError != nil && s.LastError.Lasting
	})
	w.inject(nil)
	eventuallyStatus(t, w.proxy, "recovery", func(s proxy.Status) bool {
		return s.Synced && s.Pending == 0 && s.LastError != nil && !s.LastError.Lasting && s.Endpoints == 2
	})
	if _, err := node.Run("nft", "flush", "map", "inet", "kube-vmap", "services4"); err != nil {
		t.Fatal(err)
	}
	eventuallyStatus(t, w.proxy, "a repair", func(s proxy.Status) bool {
		return s.Synced && s.Repairs == 1 && s.LastForeign != nil && s.LastForeign.Process == "nft"
	})
}

func eventuallyStatus(t *testing.T, p *proxy.Proxy, what string, ok func(proxy.Status) bool) {
	t.Helper()
	var s proxy.Status
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s = status(t, p); ok(s) {
			return
		}
	}
	t.Fatalf("no sign of %s: %+v", what, s)
}

// TestStatusOfAnEndedContext: nobody waits for a loop that does not run.
func TestStatusOfAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := proxy.New(nodeConfig(), nil, log(t, nil))
	if _, err := p.Status(ctx); err == nil {
		t.Error("no error")
	}
}
