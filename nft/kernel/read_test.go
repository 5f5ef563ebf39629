package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// change is a transaction that makes a new generation: it moves one element of
// the set between two keys.
func change(have *cluster, n int) *nft.Transaction {
	tx := nft.NewTransaction(have.table)
	tx.AddElements(have.backends, backend(0, 10+n%2))
	if n > 0 {
		tx.DeleteElements(have.backends, backend(0, 11-n%2))
	}
	return tx
}

func TestReadNothing(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	s, err := c.ReadTable("none")
	if err != nil || s.Table != nil || s.Generation == 0 {
		t.Errorf("snapshot %+v, error %v; want no table and no error", s, err)
	}
	if names, err := c.ListTables(); err != nil || len(names) != 0 {
		t.Errorf("tables %v, error %v; want none", names, err)
	}
	if _, err := c.ReadSet("none", &nft.Set{Name: "none", Key: nft.Types{nft.Mark}}, nil); err == nil {
		t.Error("no error for a set that is not there")
	}
}

func TestListTables(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	ns.NftLoad(t, "table inet one {}\ntable ip other {}\ntable inet two {}")
	if names, err := c.ListTables(); err != nil || !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("tables %v, error %v", names, err)
	}
}

// TestReadStructure reads the elements of the sets that are asked for, and the
// rest without.
func TestReadStructure(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(5, 2)
	commit(t, c, nft.Diff(nil, have.table))
	s, err := c.ReadStructure(have.table.Name, func(set string) bool { return set == "services4" })
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Table.Set("services4").Elements); n != 5 {
		t.Errorf("%d elements of the set that was asked for, want 5", n)
	}
	if n := len(s.Table.Set("backends4").Elements); n != 0 {
		t.Errorf("%d elements of the set that was not, want 0", n)
	}
}

// TestReadSetIsInterrupted commits between the first element and the last, for
// a set of one datagram and one of many.
func TestReadSetIsInterrupted(t *testing.T) {
	for _, services := range []int{2, 2000} {
		ns := kerneltest.Namespace(t)
		c, other := dial(t, ns, kernel.Options{}), dial(t, ns, kernel.Options{})
		have := newCluster(services, 5)
		commit(t, c, nft.Diff(nil, have.table))
		wantInKernel(t, c, have.table)
		visited := 0
		_, err := c.ReadSet(have.table.Name, have.backends, func(*nft.Element) error {
			if visited++; visited == 1 {
				commit(t, other, change(have, 0))
			}
			return nil
		})
		if !errors.Is(err, kernel.ErrInterrupted) {
			t.Errorf("error %v after %d elements, want %v", err, visited, kernel.ErrInterrupted)
		}
		visited = 0
		if _, err := c.ReadSet(have.table.Name, have.backends, func(*nft.Element) error { visited++; return nil }); err != nil {
			t.Errorf("read again: %v", err)
		}
		if want := services*5 + 1; visited != want {
			t.Errorf("%d elements, want %d", visited, want)
		}
	}
}

// TestReadDynamicSetGoesOn commits while a dynamic set is read.
func TestReadDynamicSetGoesOn(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c, other := dial(t, ns, kernel.Options{}), dial(t, ns, kernel.Options{})
	have := newCluster(1, 1)
	learned := &nft.Set{Name: "learned", Key: nft.Types{nft.IPv4Addr}, Data: nft.Types{nft.IPv4Addr}, Dynamic: true, Size: 5000}
	for i := range 3000 {
		a := nft.Value{}.Addr(numbered(10<<24, i))
		learned.Elements = append(learned.Elements, nft.Element{Key: a, Data: a, Timeout: time.Hour})
	}
	have.table.Sets = append(have.table.Sets, learned)
	commit(t, c, nft.Diff(nil, have.table))
	visited := 0
	_, err := c.ReadSet(have.table.Name, learned, func(*nft.Element) error {
		if visited%1000 == 0 {
			commit(t, other, change(have, visited/1000))
		}
		visited++
		return nil
	})
	if err != nil || visited < 2000 { // some may be missed while the hash table is rebuilt
		t.Errorf("%d elements, error %v", visited, err)
	}
}

// TestVisitEndsTheReading returns an error from visit in the middle of a dump,
// whose rest must not disturb what comes next.
func TestVisitEndsTheReading(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(2000, 5)
	commit(t, c, nft.Diff(nil, have.table))
	stop := errors.New("enough")
	for range 3 {
		if _, err := c.ReadSet(have.table.Name, have.backends, func(*nft.Element) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("error %v, want %v", err, stop)
		}
		if _, err := c.Generation(); err != nil {
			t.Error(err)
		}
	}
	wantInKernel(t, c, have.table)
}

// TestReadWhileOthersCommit reads again and again under commits of another. Each
// reading either fails as interrupted or gives the table of one moment. The same
// Conn commits, too, from another goroutine.
func TestReadWhileOthersCommit(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	have := newCluster(1000, 5)
	commit(t, c, nft.Diff(nil, have.table))
	wantInKernel(t, c, have.table)
	commit(t, c, change(have, 0))

	done := make(chan error)
	go func() {
		for n := range 150 {
			if _, err := c.Commit(change(have, n+1)); err != nil {
				done <- fmt.Errorf("commit %d: %w", n, err)
				return
			}
			time.Sleep(time.Duration(n%40) * 100 * time.Microsecond)
		}
		done <- nil
	}()
	for {
		s, err := c.ReadTable(have.table.Name)
		if err != nil && !errors.Is(err, kernel.ErrInterrupted) {
			t.Fatal(err)
		}
		if err == nil {
			if n := len(s.Table.Set("backends4").Elements); n != 5001 {
				t.Errorf("a snapshot has %d elements, want 5001", n)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}
