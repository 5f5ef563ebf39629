package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// visitMessage gets the type and the attributes of one nf_tables message.
type visitMessage func(typ uint16, attributes []byte)

// get sends one request and reads its one answer.
func (c *Conn) get(typ uint16, request func(*buffer), visit visitMessage) error {
	_, err := c.exchange(typ, unix.NLM_F_ACK, request, func(typ, _ uint16, attributes []byte) error {
		visit(typ, attributes)
		return nil
	})
	return err
}

// anyGeneration accepts a dump whatever the generation.
const anyGeneration = 0

// dump reads all objects that a request asks for, which must all be of the given
// generation, else the error is ErrInterrupted: in a dump under concurrent
// commits, elements that were not touched may be missing or come twice.
func (c *Conn) dump(typ uint16, generation uint32, request func(*buffer), visit func(typ uint16, attributes []byte) error) error {
	interrupted, err := c.exchange(typ, unix.NLM_F_DUMP, request, func(typ, low16 uint16, attributes []byte) error {
		if generation != anyGeneration && low16 != uint16(generation) {
			return ErrInterrupted
		}
		return visit(typ, attributes)
	})
	if err == nil && interrupted && generation != anyGeneration {
		return ErrInterrupted
	}
	return err
}

// exchange sends a request and visits its answers to the end. An error of the
// visit ends it early, and the rest of the answers goes with the socket.
func (c *Conn) exchange(
	typ, flags uint16, request func(*buffer), visit func(typ, generation uint16, attributes []byte) error,
) (interrupted bool, err error) {
	s, err := c.reader.open()
	if err != nil {
		return false, err
	}
	seq := s.nextSeq()
	c.request = c.request[:0]
	at := c.request.beginMessage(typ, flags, seq)
	request(&c.request)
	c.request.endMessage(at)
	if err := s.send(c.request); err != nil {
		return false, errors.Join(fmt.Errorf("send request: %w", err), c.reader.drop())
	}
	r := reply{seq: seq, visit: visit}
	for !r.done && err == nil {
		err = r.receive(s)
	}
	if !r.done {
		err = errors.Join(err, c.reader.drop())
	}
	return r.interrupted, err
}

// reply is the answer to one request, while it is read.
type reply struct {
	seq   uint32
	visit func(typ, generation uint16, attributes []byte) error

	done, interrupted bool
}

// receive handles one datagram.
func (r *reply) receive(s *socket) error {
	b, err := s.receive()
	if err != nil {
		return fmt.Errorf("receive answer: %w", err)
	}
	for !r.done {
		m, rest, ok := nextMessage(b)
		if !ok {
			break
		}
		b = rest
		if m.seq != r.seq {
			continue
		}
		if err := r.handle(&m); err != nil {
			return err
		}
	}
	return nil
}

func (r *reply) handle(m *message) error {
	r.interrupted = r.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
	switch m.typ {
	case unix.NLMSG_ERROR:
		r.done = true
		if f := parseFailure(m); f.errno != 0 {
			return f.errno
		}
		return nil
	case unix.NLMSG_DONE:
		r.done = true
		if len(m.payload) >= 4 {
			if code := int32(binary.NativeEndian.Uint32(m.payload)); code < 0 {
				return unix.Errno(-code)
			}
		}
		return nil
	}
	typ, generation, attributes, ok := m.netfilter()
	if !ok {
		return nil
	}
	return r.visit(typ, generation, attributes)
}
