package takeover_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// fixed is a source whose objects do not change.
type fixed struct{ model.Update }

func (f fixed) Run(ctx context.Context, sink source.Sink) error {
	sink.Apply(f.Update)
	sink.Synced()
	<-ctx.Done()
	return nil
}

// start runs a proxy on a node until the test ends, and waits until its table is
// complete.
func start(t *testing.T, lab *testnet.Lab) {
	t.Helper()
	node := lab.Host("node-a")
	dial := func() *kernel.Conn {
		conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	config := proxy.DefaultConfig()
	config.NodeName, config.DetectLocal = "node-a", proxy.DetectNodeCIDR
	writer := dial()
	p := proxy.New(config, writer, testr.New(t), fixed{newServices(lab)})
	p.EnforceBindings(dial())
	p.CleanFlows(conntrack.New(conntrack.Options{NetNS: node.FD(), Log: testr.New(t)}))
	p.RepairForeignChanges(writer)
	complete := make(chan struct{})
	p.WhenComplete(func() { close(complete) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run proxy: %v", err)
		}
	})
	select {
	case <-complete:
	case <-time.After(30 * time.Second):
		t.Fatal("kube-vmap's table is not complete")
	}
}
