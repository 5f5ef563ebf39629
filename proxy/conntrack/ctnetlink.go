package conntrack

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ctnetlink is conntrack in one network namespace. It has two sockets, so that
// flows can be deleted while others are still dumped and nothing grows with the
// number of flows. A socket on which something was lost is opened anew.
type ctnetlink struct {
	netns          int
	reader, writer *socket
	request        buffer

	noted   buffer // delete requests that were not sent yet
	last    int    // where the last of them begins
	first   uint32 // number of the first of them
	count   int    // how many they are
	deleted int    // since the last flush
	err     error  // the first refusal since the last flush
}

// deletesPerSend bounds what is sent at once: in the worst case there are as many
// answers, and they must fit into a receive buffer of the usual size (208 KiB).
const deletesPerSend = 128

func (k *ctnetlink) close() {
	k.dropReader()
	k.dropWriter()
}

func (k *ctnetlink) dropReader() {
	if k.reader != nil {
		k.reader.close()
		k.reader = nil
	}
}

func (k *ctnetlink) dropWriter() {
	if k.writer != nil {
		k.writer.close()
		k.writer = nil
	}
	k.noted, k.count = k.noted[:0], 0
}

// dump implements flowTable.
func (k *ctnetlink) dump(f filter, visit func(*flow) error) (err error) {
	if k.reader == nil {
		if k.reader, err = openSocket(k.netns); err != nil {
			return err
		}
	}
	seq := k.reader.nextSeq()
	k.request = k.request[:0]
	at := k.request.begin(msgGet, unix.NLM_F_DUMP, seq, f.family)
	f.encode(&k.request)
	k.request.end(at)
	err = k.reader.send(k.request)
	if err == nil {
		err = readDump(k.reader, seq, visit)
	}
	if err != nil {
		k.dropReader() // with what is left of the dump
		return fmt.Errorf("dump: %w", err)
	}
	return nil
}

// readDump visits the flows of a dump to its end.
func readDump(s *socket, seq uint32, visit func(*flow) error) error {
	var f flow
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		for {
			m, rest, ok := nextMessage(b)
			if !ok {
				break
			}
			b = rest
			if m.seq != seq {
				continue
			}
			if m.flags&unix.NLM_F_DUMP_INTR != 0 {
				return unix.EINTR
			}
			if m.typ == unix.NLMSG_DONE || m.typ == unix.NLMSG_ERROR {
				if e := m.errno(); e != 0 {
					return e
				}
				return nil
			}
			if m.flow(&f) {
				if err := visit(&f); err != nil {
					return err
				}
			}
		}
	}
}

// delete implements flowTable.
func (k *ctnetlink) delete(f *flow) (err error) {
	if k.writer == nil {
		if k.writer, err = openSocket(k.netns); err != nil {
			return err
		}
	}
	seq := k.writer.nextSeq()
	if k.count == 0 {
		k.first = seq
	}
	k.last = k.noted.deleteFlow(f, seq)
	if k.count++; k.count == deletesPerSend {
		return k.sendDeletes()
	}
	return nil
}

// flush implements flowTable.
func (k *ctnetlink) flush() (deleted int, err error) {
	if k.count > 0 {
		err = k.sendDeletes()
	}
	if k.err != nil {
		err = errors.Join(err, fmt.Errorf("delete a flow: %w", k.err))
	}
	deleted, k.deleted, k.err = k.deleted, 0, nil
	return deleted, err
}

// sendDeletes sends what was noted. The kernel answers what it refused and, on
// request, the last one; so an answer to the last says that all are done.
func (k *ctnetlink) sendDeletes() error {
	k.noted.setFlags(k.last, unix.NLM_F_ACK)
	err := k.writer.send(k.noted)
	if err == nil {
		err = k.readRefusals()
	}
	if err != nil {
		k.dropWriter()
		return fmt.Errorf("delete flows: %w", err)
	}
	k.noted, k.count = k.noted[:0], 0
	return nil
}

// readRefusals reads the answers up to that of the last delete and counts.
func (k *ctnetlink) readRefusals() error {
	refused := 0
	last := k.first + uint32(k.count) - 1
	for {
		b, err := k.writer.receive()
		if err != nil && k.err != nil {
			err, k.err = k.err, nil // it says why there are no more answers
		}
		if err != nil {
			return err
		}
		for {
			m, rest, ok := nextMessage(b)
			if !ok {
				break
			}
			b = rest
			if m.typ != unix.NLMSG_ERROR || m.seq-k.first > last-k.first {
				continue
			}
			if e := m.errno(); e != 0 {
				refused++
				k.refuse(e)
			}
			if m.seq == last {
				k.deleted += k.count - refused
				return nil
			}
		}
	}
}

// refuse notes why a flow was not deleted. One that is gone is fine: it timed
// out, or another flow of the same client is in its place.
func (k *ctnetlink) refuse(e unix.Errno) {
	if e != unix.ENOENT && k.err == nil {
		k.err = e
	}
}

// withHint says what an error usually means here and what to do.
func withHint(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (grant CAP_NET_ADMIN)", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%w (does the kernel have ctnetlink? load its module nf_conntrack_netlink)", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w (the kernel's answer was lost)", err)
	}
	return err
}
