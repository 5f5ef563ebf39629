package conntrack

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/funcr"
	"golang.org/x/sys/unix"
)

// faulty is the kernel's flows with errors that come where they are put in.
type faulty struct {
	flowTable
	dumps   []error // one per dump: nil for none; the dump ends after its first flow
	flushes []error // one per flush
}

func next(list *[]error) error {
	if len(*list) == 0 {
		return nil
	}
	err := (*list)[0]
	*list = (*list)[1:]
	return err
}

func (f *faulty) dump(fi filter, visit func(*flow) error) error {
	err := next(&f.dumps)
	if err == nil {
		return f.flowTable.dump(fi, visit)
	}
	return f.flowTable.dump(fi, func(fl *flow) error { return errors.Join(visit(fl), err) })
}

func (f *faulty) flush() (int, error) {
	n, err := f.flowTable.flush()
	return n, errors.Join(err, next(&f.flushes))
}

// Whatever fails, in the end all flows are deleted, and each is counted once.
func TestErrorsAreRetried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.11:8080")
	for port := range uint16(5) {
		s.mustReach(t, "a1", 20000+port, "10.96.0.10:53")
	}
	var logged atomic.Int64
	r := &running{}
	r.Cleaner = New(Options{
		NetNS: s.node.FD(), OnDeleted: func(n int) { r.deleted.Add(int64(n)) },
		Log: funcr.New(func(_, args string) {
			if strings.Contains(args, `"error"="clean conntrack of IPv4 flows:`) {
				logged.Add(1)
			}
		}, funcr.Options{}),
	})
	r.flows = &faulty{
		flowTable: r.flows,
		dumps:     []error{unix.EINTR, unix.ENOBUFS, unix.EIO, nil},
		flushes:   []error{nil, nil, nil, unix.EBUSY},
	}
	r.start(t)
	r.Clean([]Frontend{udp("10.96.0.10:53")})
	r.awaitIdle(t)
	r.awaitDeleted(t, 5)
	if left := s.list(t); len(left) > 0 {
		t.Errorf("flows left: %v", left)
	}
	if n := logged.Load(); n != 2 {
		t.Errorf("%d errors logged; want 2: those of the broken dump and of the flush", n)
	}
}

// dumpAll reads the flows of one IPv4 port, with copies of what lies in buffers.
func dumpAll(t *testing.T, k *ctnetlink, port uint16) []flow {
	t.Helper()
	var list []flow
	if err := k.dump(filter{family: ipv4, port: port}, func(f *flow) error {
		c := *f
		c.tuple, c.id, c.zone = bytes.Clone(f.tuple), bytes.Clone(f.id), bytes.Clone(f.zone)
		list = append(list, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// A delete names the flow by its id too: another flow of the same client, at the
// same place, stays. A flow that is gone is no error. More than one send's worth.
func TestDeleteByID(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.11:8080")
	const flows = 2*deletesPerSend + 7
	s.flood(t, flows, targetOf(udp("10.96.0.10:53").Key))
	k := &ctnetlink{netns: s.node.FD()}
	defer k.close()
	list := dumpAll(t, k, 53)
	if len(list) != flows {
		t.Fatalf("%d flows dumped; want %d", len(list), flows)
	}
	others := slices.Clone(list)
	for i := range others {
		others[i].id = bytes.Clone(others[i].id)
		others[i].id[0] ^= 1
	}
	for _, c := range []struct {
		what    string
		list    []flow
		deleted int
	}{{"other ids", others, 0}, {"the flows", list, flows}, {"the flows again", list, 0}} {
		for i := range c.list {
			if err := k.delete(&c.list[i]); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := k.flush(); err != nil || n != c.deleted {
			t.Errorf("delete of %s: %d, %v; want %d", c.what, n, err, c.deleted)
		}
	}
}

// The kernel's refusals come with what they are about, and leave ctnetlink usable.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.11:8080")
	s.mustReach(t, "a1", 20001, "10.96.0.10:53")
	k := &ctnetlink{netns: s.node.FD()}
	defer k.close()
	good := dumpAll(t, k, 53)
	bad := slices.Clone(good)
	bad[0].tuple = bad[0].tuple[:len(bad[0].tuple)/2]
	for _, f := range []*flow{&bad[0], &good[0]} {
		if err := k.delete(f); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := k.flush(); n != 1 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("delete of half a tuple and a flow: %d, %v; want 1 and EINVAL", n, err)
	}
	if n, err := k.flush(); n != 0 || err != nil {
		t.Errorf("the error is told again: %d, %v", n, err)
	}
	err := k.dump(filter{family: 77}, func(*flow) error { return nil })
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("dump of family 77: %v; want EOPNOTSUPP", err)
	}
	if left := dumpAll(t, k, 53); len(left) != 0 {
		t.Errorf("flows left: %v", left)
	}

	k.netns = -1
	k.close()
	if err := k.dump(filter{family: ipv4}, func(*flow) error { return nil }); err == nil {
		t.Error("dump in a namespace that is not there: no error")
	}
	if want := "(grant CAP_NET_ADMIN)"; !strings.Contains(fmt.Sprint(withHint(unix.EPERM)), want) {
		t.Errorf("EPERM is told as %q; want %q in it", withHint(unix.EPERM), want)
	}
}
