package kernel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

func readTable(t testing.TB, c *kernel.Conn, name string) *nft.Table {
	t.Helper()
	s, err := c.ReadTable(name)
	if err != nil {
		t.Fatal(err)
	}
	return s.Table
}

// wantInKernel fails unless the kernel holds exactly the table.
func wantInKernel(t testing.TB, c *kernel.Conn, want *nft.Table) {
	t.Helper()
	if tx := nft.Diff(readTable(t, c, want.Name), want); !tx.IsEmpty() {
		t.Fatalf("the kernel does not hold the wanted table; missing, or too much:\n%s", lines(tx))
	}
}

// lines are the first of the transaction.
func lines(tx *nft.Transaction) string {
	all := tx.Lines()
	return strings.Join(all[:min(len(all), 20)], "\n")
}

// TestCommitLoadsManyElements loads 110,000 elements in one batch and reads all
// of them.
func TestCommitLoadsManyElements(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	want := newCluster(10_000, 10)
	before, err := c.Generation()
	if err != nil {
		t.Fatal(err)
	}
	r := commit(t, c, nft.Diff(nil, want.table))
	if r.Generation != before.ID+1 {
		t.Errorf("generation %d after one commit on %d: not one batch", r.Generation, before.ID)
	}
	objects := 1 + 2 + 3 + 6 // table, sets, chains, rules
	if r.Operations != objects+110_000 {
		t.Errorf("%d operations, want %d", r.Operations, objects+110_000)
	}
	wantInKernel(t, c, want.table)
}

// TestCommitCutsBatches programs a table in batches far too small for it.
func TestCommitCutsBatches(t *testing.T) {
	for _, limit := range []int{1200, 4096, 100_000} {
		c := dial(t, kerneltest.Namespace(t), kernel.Options{MaxBatchBytes: limit})
		want := newCluster(100, 10)
		r := commit(t, c, nft.Diff(nil, want.table))
		if batches := int(r.Generation) - 1; batches < r.Bytes/limit {
			t.Errorf("%d bytes went in %d batches of at most %d bytes", r.Bytes, batches, limit)
		}
		if want := 12 + 1100; r.Operations != want {
			t.Errorf("%d operations, want %d", r.Operations, want)
		}
		wantInKernel(t, c, want.table)

		empty := newCluster(0, 0)
		commit(t, c, nft.Diff(want.table, empty.table))
		wantInKernel(t, c, empty.table)
	}
}

// TestCommitOneOperationLargerThanABatch names the operation that no batch can
// hold; with those before it committed, the outcome is uncertain.
func TestCommitOneOperationLargerThanABatch(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{MaxBatchBytes: 300})
	_, err := c.Commit(nft.Diff(nil, newCluster(1, 1).table))
	var e *kernel.Error
	if !errors.As(err, &e) || e.Operation != nft.AddRule || e.Errno != unix.EMSGSIZE {
		t.Errorf("error %v, want the rule that is too large", err)
	}
	if !errors.Is(err, kernel.ErrUncertain) {
		t.Errorf("error %v, want it uncertain", err)
	}
}

func TestCommitNothing(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(1, 1)
	commit(t, c, nft.Diff(nil, have.table))
	tx := nft.NewTransaction(have.table)
	if r := commit(t, c, tx); r != (kernel.Result{}) {
		t.Errorf("an empty transaction has the result %+v", r)
	}
	tx.AddElements(have.backends, have.backends.Elements...) // all there with the same data
	if r := commit(t, c, tx); r.Generation != 0 {
		t.Errorf("a transaction that changes nothing has made generation %d", r.Generation)
	}
	wantInKernel(t, c, have.table)
}

// TestCommitTellsItsGeneration counts the commits of another in between.
func TestCommitTellsItsGeneration(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c, other := dial(t, ns, kernel.Options{}), dial(t, ns, kernel.Options{})
	have := newCluster(1, 1)
	first := commit(t, c, nft.Diff(nil, have.table)).Generation
	for n, committer := range []*kernel.Conn{c, other, other, c} {
		if g := commit(t, committer, change(have, n)).Generation; g != first+uint32(n)+1 {
			t.Errorf("commit %d made generation %d, want %d", n, g, first+uint32(n)+1)
		}
	}
}

// TestCommitDestroysElements deletes elements of which some are not there.
func TestCommitDestroysElements(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(2, 3)
	commit(t, c, nft.Diff(nil, have.table))
	tx := nft.NewTransaction(have.table)
	tx.DestroyElements(have.backends, backend(0, 2), backend(0, 7), backend(1, 2), backend(9, 9))
	if kernel.KernelAtLeast(6, 3) {
		commit(t, c, tx)
		have.backends.Elements = []nft.Element{backend(0, 0), backend(0, 1), backend(1, 0), backend(1, 1)}
	} else if _, err := c.Commit(tx); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v, want ENOENT: before kernel 6.3 all elements must be there", err)
	}
	wantInKernel(t, c, have.table)
}

// TestCommitRefusesBadElements sends nothing of a transaction with an element
// that does not fit its set.
func TestCommitRefusesBadElements(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(1, 1)
	generation := commit(t, c, nft.Diff(nil, have.table)).Generation
	good := backend(0, 3)
	tests := []struct {
		set  *nft.Set
		bad  nft.Element
		text string
	}{
		{have.backends, nft.Element{Key: address("10.0.0.1"), Data: good.Data},
			"add element backends4 { 0x0a000001 : 10.128.0.3 . 8080 }: invalid argument: a key of 4 bytes, its type ipv4_addr . inet_proto . inet_service . mark has 16"},
		{have.backends, nft.Element{Key: good.Key},
			"add element backends4 { 10.96.0.0 . tcp . 80 . 0x00000003 :  }: invalid argument: data of 0 bytes, its type ipv4_addr . inet_service has 8"},
		{have.backends, nft.Element{Key: good.Key, KeyEnd: good.Key, Data: good.Data},
			"add element backends4 { 10.96.0.0 . tcp . 80 . 0x00000003 : 10.128.0.3 . 8080 }: invalid argument: an interval in a set without intervals"},
		{have.services, nft.Element{Key: frontendKey(7)},
			"add element services4 { 10.96.0.7 . tcp . 80 :  }: invalid argument: no verdict"},
		{have.services, nft.Element{Key: frontendKey(7), Verdict: nft.Verdict{Kind: nft.Drop}, Comment: longComment + "x"},
			"add element services4 { 10.96.0.7 . tcp . 80 comment \"" + longComment + "x\" : drop }: invalid argument: a comment of 129 bytes, at most 128 are allowed"},
	}
	for _, tt := range tests {
		tx := nft.NewTransaction(have.table)
		tx.AddElements(have.backends, good)
		tx.AddElements(tt.set, tt.bad)
		_, err := c.Commit(tx)
		var e *kernel.Error
		if !errors.As(err, &e) || e.Errno != unix.EINVAL || e.Error() != tt.text {
			t.Errorf("error\n%v\nwant\n%s", err, tt.text)
		}
	}
	if g, err := c.Generation(); err != nil || g.ID != generation {
		t.Errorf("generation %d, error %v; want nothing committed after %d", g.ID, err, generation)
	}
}

// TestCommitReplacesElement gives a key another verdict and comment.
func TestCommitReplacesElement(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	have := newCluster(2, 1)
	commit(t, c, nft.Diff(nil, have.table))
	for _, change := range []func(*nft.Element){
		func(e *nft.Element) { e.Verdict = nft.Verdict{Kind: nft.Drop} },
		func(e *nft.Element) { e.Comment = "" },
		func(e *nft.Element) { e.Comment, e.Verdict = "new", nft.GotoChain("lb4-16") },
	} {
		e := &have.services.Elements[1]
		change(e)
		tx := nft.NewTransaction(have.table)
		tx.ReplaceElement(have.services, *e)
		commit(t, c, tx)
		wantInKernel(t, c, have.table)
	}
}
