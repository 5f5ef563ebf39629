package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ForeignCommit is a commit of another process (or of another Conn) that
// changed the watched table.
type ForeignCommit struct {
	Generation // that it made, and who did it
	// Missed says that notifications were lost: somebody may have changed the
	// table, and nobody is named.
	Missed bool
}

// Monitor listens to the notifications of one network namespace. The kernel
// makes them for each commit while anybody listens: that doubles the 2 us of a
// one-element commit, and makes a load of 100,000 elements two to seven times
// slower, so listen only once the table is loaded.
type Monitor struct {
	socket  *socket
	table   string
	touched bool // by the commit that is being told
}

// Watch begins to listen for commits that change a table, but for those of this
// Conn's Commit. It must be called by the goroutine that commits, when something
// has been committed; Next belongs to another one.
func (c *Conn) Watch(table string) (*Monitor, error) {
	writer, err := c.writer.open()
	if err != nil {
		return nil, err
	}
	s, err := openSocket(c.options.NetNS)
	if err != nil {
		return nil, err
	}
	m := &Monitor{socket: s, table: table}
	if err := m.listen(writer.portID); err != nil {
		return nil, errors.Join(fmt.Errorf("watch table %s: %w", table, err), s.close())
	}
	return m, nil
}

// listen joins the group, behind a filter that drops what the writer's own
// commits notify: they wake nobody.
func (m *Monitor) listen(writer uint32) error {
	const portID = 12 // offset in struct nlmsghdr; BPF loads big endian
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: portID, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: hostToBPF(writer), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 30},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	if err := m.socket.conn.SetBPF(program); err != nil {
		return err
	}
	return m.socket.conn.JoinGroup(unix.NFNLGRP_NFTABLES)
}

// hostToBPF turns a number in host order into what BPF loads from memory.
func hostToBPF(n uint32) uint32 {
	if isLittleEndian {
		return bits.ReverseBytes32(n)
	}
	return n
}

// Next waits for a commit that changed the table. It returns the context's error
// when that ends, and any other error if the socket is lost: then Watch again,
// and read the table, since commits may have been missed.
func (m *Monitor) Next(ctx context.Context) (ForeignCommit, error) {
	defer m.socket.until(ctx)()
	for {
		b, err := m.socket.await()
		switch {
		case ctx.Err() != nil:
			return ForeignCommit{}, ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			m.touched = false
			return ForeignCommit{Missed: true}, nil
		case err != nil:
			return ForeignCommit{}, fmt.Errorf("watch table %s: %w", m.table, err)
		}
		if commit, ok := m.read(b); ok {
			return commit, nil
		}
	}
}

// read goes through a datagram. A commit's changes come first, then its
// generation.
func (m *Monitor) read(b []byte) (commit ForeignCommit, ok bool) {
	for {
		msg, rest, more := nextMessage(b)
		if !more {
			return commit, ok
		}
		b = rest
		typ, _, attributes, valid := msg.netfilter()
		switch {
		case !valid:
		case typ == unix.NFT_MSG_NEWGEN:
			if m.touched {
				commit, ok = ForeignCommit{Generation: parseGeneration(attributes)}, true
			}
			m.touched = false
		default:
			m.touched = m.touched || tableOf(attributes) == m.table
		}
	}
}

// tableOf is the table that a notification is about: its first attribute, in all
// kinds of messages.
func tableOf(attributes []byte) string {
	for typ, data := range attrs(attributes) {
		if typ == unix.NFTA_TABLE_NAME {
			return string(trimNUL(data))
		}
	}
	return ""
}

// Close ends listening.
func (m *Monitor) Close() error { return m.socket.close() }

// isLittleEndian tells the host's byte order.
var isLittleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
