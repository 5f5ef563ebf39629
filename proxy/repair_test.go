package proxy_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// table reads the table as the kernel has it.
func table(t *testing.T, host *testnet.Host) kernel.Snapshot {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: host.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	snapshot, err := conn.ReadTable("kube-vmap")
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// TestRepair: whatever another process does to the table is undone.
func TestRepair(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	w := start(t, node, nodeConfig(), newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "a2", "b1"))))
	want := table(t, node).Table
	for _, command := range []string{
		"flush ruleset",
		"delete table inet kube-vmap",
		"flush chain inet kube-vmap lb4-4",
		"flush chain inet kube-vmap nat-prerouting",
		"insert rule inet kube-vmap services drop",
		"add rule inet kube-vmap nat-postrouting accept",
		"flush map inet kube-vmap services4",
		"flush map inet kube-vmap backends6",
		"flush set inet kube-vmap cluster-ips4",
		"delete element inet kube-vmap service-cidrs4 { 10.96.0.0/16 }",
		"delete element inet kube-vmap services4 { 10.96.0.10 . tcp . 80 }",
		"delete element inet kube-vmap backends4 { 10.96.0.10 . tcp . 80 . 0x00000000 }",
		"add element inet kube-vmap backends4 { 10.96.0.10 . tcp . 80 . 0x00000007 : 10.244.0.99 . 80 }",
		"add element inet kube-vmap services4 { 10.96.0.77 . tcp . 80 : drop }",
		"add element inet kube-vmap blocked4 { 10.96.0.10 . tcp . 80 : drop }",
		"add element inet kube-vmap hairpin4 { 10.0.0.1 . 10.0.0.2 }",
		"add chain inet kube-vmap stranger",
		"add set inet kube-vmap strangers { type ipv4_addr; }",
	} {
		n := w.count()
		if _, err := node.Run("nft", strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
		w.wait(t, n)
		deadline := time.Now().Add(5 * time.Second)
		for {
			difference := nft.Diff(table(t, node).Table, want)
			if difference.IsEmpty() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %q these are missing: %q", command, difference.Lines())
			}
			time.Sleep(10 * time.Millisecond)
		}
		servedBy(t, lab.Host("client"), protocols[0], netip.MustParseAddrPort("203.0.113.20:80"), 3)
	}
}

// TestRestartWritesNothing: another proxy takes the table over as it is.
func TestRestartWritesNothing(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	first := firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "a2", "b1"))
	stopped, stop := context.WithCancel(context.Background())
	<-startUntil(t, stopped, node, nodeConfig(), newFeed(first)).settled
	servedBy(t, lab.Host("client"), protocols[0], netip.MustParseAddrPort("203.0.113.20:80"), 3)
	stop()
	before := table(t, node)
	f := newFeed(first)
	again := startUntil(t, context.Background(), node, nodeConfig(), f)
	<-again.settled
	after := table(t, node)
	if again.count() != 0 || after.Generation != before.Generation || !nft.Diff(after.Table, before.Table).IsEmpty() {
		t.Errorf("%d transactions after a restart, generation %d -> %d", again.count(), before.Generation, after.Generation)
	}
	n := again.count()
	f.apply(sliceUpdate(webSlice(lab, "a1", "a2", "b1", "b2")))
	again.wait(t, n)
	if tx := again.since(n)[0]; tx.ElementCount() != 24 {
		t.Errorf("the first change after the restart: %d elements: %q", tx.ElementCount(), tx.Lines())
	}
}

// TestRestartReadsAhead: the table is read while the objects still come, and again if
// another process changes it in between.
func TestRestartReadsAhead(t *testing.T) {
	const verdict = "element inet kube-vmap services4 { 10.96.0.10 . tcp . 80 }"
	lab := newLab(t)
	node := lab.Host("node-a")
	pods := []string{"a1", "a2", "b1", "b2"}
	for i, intruder := range []string{"", "", "delete " + verdict} { // the first finds no table
		f := newFeed(firstUpdate(webService(), webSlice(lab, pods[:2+i]...)))
		f.late = make(chan struct{})
		ctx, stop := context.WithCancel(context.Background())
		w := startUntil(t, ctx, node, nodeConfig(), f)
		for deadline := time.Now().Add(10 * time.Second); w.reads.Load() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the table is not read before all objects are there")
			}
		}
		reads := int32(1)
		if intruder != "" {
			time.Sleep(50 * time.Millisecond) // until it is read whole
			if _, err := node.Run("nft", strings.Fields(intruder)...); err != nil {
				t.Fatal(err)
			}
			reads = 2
		}
		close(f.late)
		<-w.settled
		if _, err := node.Run("nft", strings.Fields("get "+verdict)...); err != nil {
			t.Errorf("after %q: %v", intruder, err)
		}
		if n := w.reads.Load(); n != reads {
			t.Errorf("after %q the table was read %d times, want %d", intruder, n, reads)
		}
		stop()
	}
}
