package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// message writes batches of nf_tables, as plain as they come: this program looks
// at the kernel by itself.
type message struct{ b []byte }

// begin starts a message of nf_tables and returns its place for end.
func (m *message) begin(kind uint16, flags uint16, family byte) int {
	at := len(m.b)
	m.header(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, family, 0)
	return at
}

// batch writes the message that begins or ends a batch.
func (m *message) batch(kind uint16) {
	at := len(m.b)
	m.header(kind, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	m.end(at)
}

func (m *message) header(kind, flags uint16, family byte, resource uint16) {
	m.b = binary.NativeEndian.AppendUint32(m.b, 0)
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	m.b = binary.NativeEndian.AppendUint16(m.b, unix.NLM_F_REQUEST|flags)
	m.b = append(m.b, make([]byte, 8)...) // sequence number and port
	m.b = append(m.b, family, 0)
	m.b = binary.BigEndian.AppendUint16(m.b, resource)
}

func (m *message) end(at int) {
	binary.NativeEndian.PutUint32(m.b[at:], uint32(len(m.b)-at))
}

// attribute writes one, padded.
func (m *message) attribute(kind uint16, data []byte) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(4+len(data)))
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	m.b = append(m.b, data...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) text(kind uint16, s string) { m.attribute(kind, append([]byte(s), 0)) }
func (m *message) number(kind uint16, n uint32) {
	m.attribute(kind, binary.BigEndian.AppendUint32(nil, n))
}

// nest writes an attribute of attributes.
func (m *message) nest(kind uint16, fill func()) {
	at := len(m.b)
	m.b = binary.NativeEndian.AppendUint16(m.b, 0)
	m.b = binary.NativeEndian.AppendUint16(m.b, kind|unix.NLA_F_NESTED)
	fill()
	binary.NativeEndian.PutUint16(m.b[at:], uint16(len(m.b)-at))
}
