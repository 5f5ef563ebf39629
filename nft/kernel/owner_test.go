package kernel_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

func ownedCluster() *cluster {
	c := newCluster(10, 2)
	c.table.Owned, c.table.Persist = true, true
	return c
}

// needPersist skips a test of owned tables on kernels that have none, where
// TestCanPersist holds that they say so.
func needPersist(t *testing.T) {
	t.Helper()
	if !kernel.KernelAtLeast(6, 9) {
		t.Skip("kernels before 6.9 have no table flag persist")
	}
}

// TestOwnedTableIsLeftAlone proves that nobody else changes an owned table.
func TestOwnedTableIsLeftAlone(t *testing.T) {
	needPersist(t)
	ns := kerneltest.Namespace(t)
	owner, other := dial(t, ns, kernel.Options{}), dial(t, ns, kernel.Options{})
	want := ownedCluster()
	commit(t, owner, nft.Diff(nil, want.table))

	foreign := nft.NewTransaction(want.table)
	foreign.DeleteElements(want.backends, want.backends.Elements[0])
	claim := nft.NewTransaction(want.table)
	claim.CreateTable()
	for _, tx := range []*nft.Transaction{foreign, claim} {
		_, err := other.Commit(tx)
		var e *kernel.Error
		if !errors.As(err, &e) || e.Errno != unix.EPERM {
			t.Errorf("%s by another: error %v, want EPERM", tx.Lines(), err)
		}
	}
	ns.Nft(t, "flush", "ruleset")
	if out, err := ns.Command(t, "", "nft", "delete", "table", "inet", want.table.Name); err == nil {
		t.Errorf("nft has deleted an owned table: %s", out)
	}
	wantInKernel(t, owner, want.table)
	wantInKernel(t, other, want.table)
	commit(t, owner, foreign)
}

// TestOrphanIsClaimed closes the owner, and lets the next one claim the table
// with all it holds.
func TestOrphanIsClaimed(t *testing.T) {
	needPersist(t)
	ns := kerneltest.Namespace(t)
	want := ownedCluster()
	first, err := kernel.Dial(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, first, nft.Diff(nil, want.table))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second, third := dial(t, ns, kernel.Options{}), dial(t, ns, kernel.Options{})
	have := readTable(t, second, want.table.Name)
	if have.Owned || !have.Persist {
		t.Errorf("an orphan is read with owned=%v persist=%v", have.Owned, have.Persist)
	}
	tx := nft.Diff(have, want.table)
	if lines := tx.Lines(); len(lines) != 1 || lines[0] != "add table inet cluster" {
		t.Errorf("an orphan is taken over by %q, want it claimed as it is", lines)
	}
	commit(t, second, tx)
	wantInKernel(t, second, want.table)
	if _, err := third.Commit(tx); !errors.Is(err, unix.EPERM) {
		t.Errorf("claim of a claimed table: error %v, want EPERM", err)
	}
}

// TestOrphanWithoutBaseChains claims a table that lost base chains and more while it
// had no owner, which the kernel does not take in one batch; and so does a writer
// whose socket is a new one.
func TestOrphanWithoutBaseChains(t *testing.T) {
	needPersist(t)
	ns := kerneltest.Namespace(t)
	want := ownedCluster()
	first, err := kernel.Dial(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, first, nft.Diff(nil, want.table))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	base := slices.IndexFunc(want.table.Chains, func(c *nft.Chain) bool { return c.Base != nil })
	chain := want.table.Chains[base]
	ns.Nft(t, "flush", "chain", "inet", want.table.Name, chain.Name)
	ns.Nft(t, "delete", "chain", "inet", want.table.Name, chain.Name)

	second := dial(t, ns, kernel.Options{})
	commit(t, second, nft.Diff(readTable(t, second, want.table.Name), want.table))
	wantInKernel(t, second, want.table)
	second.Close()

	third := dial(t, ns, kernel.Options{})
	more := &nft.Chain{Name: "more", Base: &nft.Base{Type: nft.FilterChain, Hook: chain.Base.Hook, Priority: 5}}
	tx := nft.NewTransaction(want.table)
	tx.AddChain(more)
	commit(t, third, tx)
	if have := readTable(t, third, want.table.Name); !have.Owned || have.Chain("more") == nil {
		t.Errorf("owned: %v, chains %v", have.Owned, have.Chains)
	}
}

// TestReplaceTableOfAnyFlags replaces tables with other flags than the wanted
// ones, orphans, and tables that are not there.
func TestReplaceTableOfAnyFlags(t *testing.T) {
	needPersist(t)
	plain, owned := newCluster(1, 1), ownedCluster()
	dying := ownedCluster()
	dying.table.Persist = false
	for _, have := range []*nft.Table{nil, plain.table, owned.table, dying.table} {
		for _, want := range []*nft.Table{plain.table, owned.table, dying.table} {
			for _, orphaned := range []bool{false, true} {
				ns := kerneltest.Namespace(t)
				c := dial(t, ns, kernel.Options{})
				if have != nil {
					owner := c
					if orphaned {
						owner = dial(t, ns, kernel.Options{})
					}
					commit(t, owner, nft.Diff(nil, have))
					if orphaned {
						owner.Close()
					}
				}
				tx := nft.Diff(nil, want)
				tx.ReplaceTable()
				commit(t, c, tx)
				wantInKernel(t, c, want)
			}
		}
	}
}

// TestDormantTableIsReplaced wakes a table that was put to sleep.
func TestDormantTableIsReplaced(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	want := newCluster(1, 1)
	commit(t, c, nft.Diff(nil, want.table))
	ns.Nft(t, "add table inet cluster { flags dormant; }")
	have := readTable(t, c, want.table.Name)
	if !have.Dormant {
		t.Error("a dormant table is read as one that is not")
	}
	commit(t, c, nft.Diff(have, want.table))
	wantInKernel(t, c, want.table)
	if out := ns.Nft(t, "list", "ruleset"); len(out) == 0 {
		t.Error("no table")
	}
}
