package kernel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

func TestMonitor(t *testing.T) {
	ns := kerneltest.Namespace(t)
	conn, err := kernel.Dial(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chain := func(name string) *nft.Transaction {
		tx := nft.NewTransaction(&nft.Table{Name: "watched"})
		tx.AddChain(&nft.Chain{Name: name})
		return tx
	}
	create := nft.NewTransaction(&nft.Table{Name: "watched"})
	create.CreateTable()
	commit := func(tx *nft.Transaction) {
		t.Helper()
		if _, err := conn.Commit(tx); err != nil {
			t.Fatal(err)
		}
	}
	commit(create)
	m, err := conn.Watch("watched")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	commit(chain("ours"))
	ns.NftLoad(t, "table inet other {\n chain c {\n }\n}\n")
	ns.Nft(t, "add", "chain", "inet", "watched", "theirs")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	foreign, err := m.Next(ctx)
	if err != nil || foreign.Process != "nft" || foreign.PID == 0 || foreign.Missed {
		t.Fatalf("%+v, %v", foreign, err)
	}
	if g, err := conn.Generation(); err != nil || g.ID != foreign.ID {
		t.Errorf("told of generation %d, the kernel is at %d (%v)", foreign.ID, g.ID, err)
	}
	commit(chain("ours2"))
	ns.Nft(t, "flush", "ruleset")
	if foreign, err = m.Next(ctx); err != nil || foreign.Process != "nft" {
		t.Errorf("flush: %+v, %v", foreign, err)
	}

	ended, end := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, end)
	if _, err := m.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Next after cancel: %v", err)
	}
}
