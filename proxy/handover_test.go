package proxy_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// podRounds are endpoints, one set after the other.
var podRounds = [][]string{{"a1", "b1"}, {"b1", "b2"}, {"a1", "a2", "b1", "b2"}, {"a2"}, {"a1", "b2"}}

// hold keeps opening connections to the service until the test ends, when none may
// have failed.
func hold(t *testing.T, lab *testnet.Lab) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	flood := lab.Host("client").Flood(ctx, testnet.FloodOptions{
		Dst: netip.MustParseAddrPort("203.0.113.20:80"), Workers: 2, Rate: 200, Timeout: 20 * time.Second,
		OnFailure: func(f testnet.Failure) { t.Errorf("a connection failed: %v", f.Err) },
	})
	t.Cleanup(func() {
		cancel()
		if r := flood.Wait(); r.Opened == 0 {
			t.Error("no connection was opened")
		}
	})
}

// TestHandover: a new agent beside the old one, which owns the table, finds it as
// it should be; while the old one is there it can change nothing, and then it goes
// on from where that ended.
func TestHandover(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	if !canOwn(t, node) {
		t.Skip("kernels before 6.9 have no owned tables that persist")
	}
	config := nodeConfig()
	config.Own = true
	first := firstUpdate(webService(), webSlice(lab, "a1"))
	oldFeed, nextFeed := newFeed(first), newFeed(first)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	<-startUntil(t, ctx, node, config, oldFeed).settled
	hold(t, lab)

	next := startUntil(t, context.Background(), node, config, nextFeed)
	<-next.settled
	if next.count() != 0 {
		t.Errorf("the new agent began with %d transactions; want none", next.count())
	}
	for _, pods := range podRounds {
		update := sliceUpdate(webSlice(lab, pods...))
		oldFeed.apply(update)
		nextFeed.apply(update) // is refused, or finds that it is done
		eventually(t, func() string { return served(lab, pods) })
	}
	before := table(t, node)
	end()
	nextFeed.apply(sliceUpdate(webSlice(lab, "b1")))
	eventually(t, func() string { return served(lab, []string{"b1"}) })
	if after := table(t, node); !after.Table.Owned || after.Generation > before.Generation+2 {
		t.Errorf("owned: %v; generation %d before the hand-over, %d after a claim and a change", after.Table.Owned, before.Generation, after.Generation)
	}
	for _, pods := range podRounds {
		nextFeed.apply(sliceUpdate(webSlice(lab, pods...)))
		eventually(t, func() string { return served(lab, pods) })
	}
}

// canOwn reports whether the kernel has owned tables that persist: from 6.9.
func canOwn(t *testing.T, node *testnet.Host) bool {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	can, err := conn.CanPersist()
	if err != nil {
		t.Fatal(err)
	}
	return can
}

// served checks that the table has exactly these pods behind the service.
func served(lab *testnet.Lab, pods []string) string {
	seen := map[string]bool{}
	for range 10 * len(pods) {
		o := lab.Host("client").Probe(protocols[0], netip.MustParseAddrPort("203.0.113.20:80"))
		seen[o.Server] = true
	}
	for _, pod := range pods {
		if !seen[pod] {
			return fmt.Sprintf("%s does not serve: %v", pod, seen)
		}
	}
	if len(seen) != len(pods) {
		return fmt.Sprintf("served by %v; want %v", seen, pods)
	}
	return ""
}

// TestTwoAgentsWithoutOwner: two agents of one version, which both may change the
// table, come to rest with the same table, and no connection is lost meanwhile.
func TestTwoAgentsWithoutOwner(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	first := firstUpdate(webService(), webSlice(lab, "a1"))
	feeds := []*feed{newFeed(first), newFeed(first)}
	for _, f := range feeds {
		<-startUntil(t, context.Background(), node, nodeConfig(), f).settled
	}
	hold(t, lab)
	for range 3 {
		for _, pods := range podRounds {
			for _, f := range feeds {
				f.apply(sliceUpdate(webSlice(lab, pods...)))
			}
			eventually(t, func() string { return served(lab, pods) })
		}
	}
	// At rest: neither has anything to say about the table.
	last, since := table(t, node).Generation, time.Now()
	eventually(t, func() string {
		now := table(t, node).Generation
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Sprintf("the agents go on writing: generation %d", now)
		}
		return ""
	})
}
