package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

func dialInside(t *testing.T, ns *kerneltest.NS) *Conn {
	t.Helper()
	c, err := Dial(Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ports(n int) *nft.Set {
	s := &nft.Set{Name: "ports", Key: nft.Types{nft.InetService}}
	for i := range n {
		s.Elements = append(s.Elements, nft.Element{Key: nft.Value{}.Port(uint16(i))})
	}
	return s
}

// TestLostSocketsAreOpenedAgain closes both sockets under the Conn. Where tables
// can have an owner, the table is an orphan then, and the next commit must claim it.
func TestLostSocketsAreOpenedAgain(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c, other := dialInside(t, ns), dialInside(t, ns)
	s := ports(3)
	owned := kernelAtLeast(6, 9)
	want := &nft.Table{Name: "t", Owned: owned, Persist: owned, Sets: []*nft.Set{s}}
	if _, err := c.Commit(nft.Diff(nil, want)); err != nil {
		t.Fatal(err)
	}
	lost := errors.Join(c.writer.socket.close(), c.reader.socket.close())
	if lost != nil {
		t.Fatal(lost)
	}
	tx := nft.NewTransaction(want)
	tx.DeleteElements(s, s.Elements[0])
	if _, err := c.Commit(tx); err == nil {
		t.Fatal("no error from a closed socket")
	}
	if _, err := c.Commit(tx); err != nil {
		t.Fatalf("commit on a new socket: %v", err)
	}
	if _, err := c.ReadTable("t"); err == nil {
		t.Fatal("no error from a closed socket")
	}
	have, err := c.ReadTable("t")
	if err != nil {
		t.Fatalf("read on a new socket: %v", err)
	}
	if have.Table.Owned != owned || len(have.Table.Sets[0].Elements) != 2 {
		t.Errorf("the kernel has owned=%v and %d elements, want %v and 2", have.Table.Owned, len(have.Table.Sets[0].Elements), owned)
	}
	if _, err := other.Commit(tx); err == nil {
		t.Error("another process has changed the table")
	}
}

func TestClosedConn(t *testing.T) {
	c := dialInside(t, kerneltest.Namespace(t))
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Generation(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want %v", err, os.ErrClosed)
	}
	tx := nft.NewTransaction(&nft.Table{Name: "t"})
	tx.CreateTable()
	if _, err := c.Commit(tx); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want %v", err, os.ErrClosed)
	}
}

// TestLargestBatch fills small send buffers to the last byte that the socket is
// said to take, and sends one byte more.
func TestLargestBatch(t *testing.T) {
	c := dialInside(t, kerneltest.Namespace(t))
	if err := c.writer.socket.setWriteBuffer(10_000); err != nil {
		t.Fatal(err)
	}
	limit := c.writer.socket.maxBatch
	s := &nft.Set{Name: "ports", Key: nft.Types{nft.IPv4Addr, nft.InetService}}
	full := false
	for padding := range nft.MaxComment {
		s.Elements = nil
		for i := range 1200 {
			v := nft.Value{}.Addr(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})).Port(80)
			s.Elements = append(s.Elements, nft.Element{Key: v})
		}
		s.Elements[0].Comment = strings.Repeat("x", padding)
		tx := nft.Diff(nil, &nft.Table{Name: "t", Sets: []*nft.Set{s}})
		tx.ReplaceTable()
		if _, err := c.Commit(tx); err != nil {
			t.Fatalf("with %d bytes of comment: %v", padding, err)
		}
		c.batch.begin(tx.Table, tx.Operations(), limit)
		for c.batch.fill(1) {
			full = full || len(c.batch.buffer) == limit
		}
	}
	if !full {
		t.Error("no batch was as large as the limit")
	}
	if err := c.writer.socket.send(make([]byte, limit+1)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("error %v of one byte more, want %v", err, unix.EMSGSIZE)
	}
}

// TestFullReceiveBuffer lets the kernel refuse more messages than the receive
// buffer can hold: the first refusals are told, and the batch is known to have
// failed.
func TestFullReceiveBuffer(t *testing.T) {
	c := dialInside(t, kerneltest.Namespace(t))
	table := &nft.Table{Name: "t", Sets: []*nft.Set{ports(1)}}
	if _, err := c.Commit(nft.Diff(nil, table)); err != nil {
		t.Fatal(err)
	}
	if err := c.writer.socket.conn.SetReadBuffer(1); err != nil { // the kernel makes it its minimum
		t.Fatal(err)
	}
	tx := nft.NewTransaction(table)
	for i := range 1000 {
		tx.DeleteChain(&nft.Chain{Name: fmt.Sprintf("missing-%d", i)})
	}
	_, err := c.Commit(tx)
	var e *Error
	if !errors.As(err, &e) || e.Object != "missing-0" || errors.Is(err, ErrUncertain) {
		t.Errorf("error %v, want a refusal of chain missing-0", err)
	}
	if n := strings.Count(err.Error(), "\n"); n == 0 || n > 6 {
		t.Errorf("%d lines of error", n+1)
	}

	tx = nft.NewTransaction(table)
	tx.AddElements(table.Sets[0], ports(3).Elements...)
	if _, err := c.Commit(tx); err != nil {
		t.Errorf("commit after a full receive buffer: %v", err)
	}
}

// TestLostAnswerIsUncertain takes the answer away before it is read.
func TestLostAnswerIsUncertain(t *testing.T) {
	c := dialInside(t, kerneltest.Namespace(t))
	tx := nft.NewTransaction(&nft.Table{Name: "t"})
	tx.CreateTable()
	if _, err := c.writer.open(); err != nil {
		t.Fatal(err)
	}
	s := c.writer.socket
	write := s.write
	s.write = func(fd uintptr) bool {
		done := write(fd)
		n, err := s.n, s.err
		for s.err == nil {
			s.read(fd)
		}
		s.n, s.err = n, err
		return done
	}
	if _, err := c.Commit(tx); !errors.Is(err, ErrUncertain) {
		t.Errorf("error %v, want it uncertain", err)
	}
	names, err := c.ListTables()
	if err != nil || len(names) != 1 {
		t.Errorf("tables %v, error %v: it was committed", names, err)
	}
}
