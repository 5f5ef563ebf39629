package hostaddrs_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

type sink chan []netip.Addr

func (s sink) Apply(u model.Update) { s <- *u.HostAddrs }
func (s sink) Synced()              { s <- nil }

func (s sink) next(t *testing.T) []netip.Addr {
	t.Helper()
	select {
	case addrs := <-s:
		return addrs
	case <-time.After(10 * time.Second):
		t.Fatal("no update")
		return nil
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	lab := testnet.ForTest(t, testnet.TwoNodes())
	node := lab.Host("node-a")
	got := make(sink, 16)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hostaddrs.New(hostaddrs.Options{NetNS: node.FD(), Log: testr.New(t)}).Run(ctx, got) }()
	want := testnet.Addrs("10.244.0.1", "192.0.2.10", "2001:db8:2::10", "fd00:10:244::1")
	if first := got.next(t); !slices.Equal(first, want) {
		t.Errorf("first: %v, want %v", first, want)
	}
	if got.next(t) != nil {
		t.Error("not synced after the first addresses")
	}
	extra := netip.MustParsePrefix("192.0.2.99/32")
	if err := node.AddAddr(extra); err != nil {
		t.Fatal(err)
	}
	if addrs := got.next(t); !slices.Contains(addrs, extra.Addr()) {
		t.Errorf("added %s, got %v", extra, addrs)
	}
	if err := node.DelAddr(extra); err != nil {
		t.Fatal(err)
	}
	if addrs := got.next(t); !slices.Equal(addrs, want) {
		t.Errorf("deleted %s, got %v", extra, addrs)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
