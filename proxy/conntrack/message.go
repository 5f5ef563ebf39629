package conntrack

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Messages of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	msgNew      = 0 // a flow, in dumps
	msgGet      = 1
	msgDelete   = 2
	msgGetStats = 5

	sizeofNfgenmsg = 4
)

// buffer is netlink messages that are being written. It is used again and again.
type buffer []byte

// begin appends the headers of a message and returns where it begins; end sets
// its length.
func (b *buffer) begin(typ, flags uint16, seq uint32, fam family) (at int) {
	at = len(*b)
	*b = binary.NativeEndian.AppendUint32(*b, 0)
	*b = binary.NativeEndian.AppendUint16(*b, unix.NFNL_SUBSYS_CTNETLINK<<8|typ)
	*b = binary.NativeEndian.AppendUint16(*b, flags|unix.NLM_F_REQUEST)
	*b = binary.NativeEndian.AppendUint32(*b, seq)
	*b = append(*b, 0, 0, 0, 0) // sender: the kernel knows
	*b = append(*b, byte(fam), unix.NFNETLINK_V0, 0, 0)
	return at
}

func (b *buffer) end(at int) {
	binary.NativeEndian.PutUint32((*b)[at:], uint32(len(*b)-at))
}

// setFlags adds flags to a message that is complete.
func (b *buffer) setFlags(at int, flags uint16) {
	field := (*b)[at+6:]
	binary.NativeEndian.PutUint16(field, binary.NativeEndian.Uint16(field)|flags)
}

// bytes appends an attribute, padded to where the next begins.
func (b *buffer) bytes(typ uint16, data []byte) {
	*b = binary.NativeEndian.AppendUint16(*b, uint16(unix.SizeofNlAttr+len(data)))
	*b = binary.NativeEndian.AppendUint16(*b, typ)
	*b = append(*b, data...)
	for len(*b)%4 != 0 {
		*b = append(*b, 0)
	}
}

// hostUint32 appends a number in the host's byte order, as CTA_FILTER has them.
func (b *buffer) hostUint32(typ uint16, n uint32) {
	b.bytes(typ, binary.NativeEndian.AppendUint32(make([]byte, 0, 4), n))
}

// open begins a nested attribute; close sets its length.
func (b *buffer) open(typ uint16) (at int) {
	at = len(*b)
	b.bytes(typ|unix.NLA_F_NESTED, nil)
	return at
}

func (b *buffer) close(at int) {
	binary.NativeEndian.PutUint16((*b)[at:], uint16(len(*b)-at))
}

// deleteFlow appends a request to delete a flow and returns where it begins.
func (b *buffer) deleteFlow(f *flow, seq uint32) (at int) {
	at = b.begin(msgDelete, 0, seq, f.family)
	b.bytes(ctaTupleOrig|unix.NLA_F_NESTED, f.tuple)
	b.bytes(ctaID, f.id)
	if f.zone != nil {
		b.bytes(ctaZone, f.zone)
	}
	b.end(at)
	return at
}

// message is one received netlink message.
type message struct {
	typ, flags uint16
	seq        uint32
	payload    []byte
}

// nextMessage splits the first message off b. It reports false at the end, or if
// b is malformed.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	n := binary.NativeEndian.Uint32(b)
	if n < unix.SizeofNlMsghdr || uint64(n) > uint64(len(b)) {
		return m, nil, false
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), payload: b[unix.SizeofNlMsghdr:n],
	}
	return m, b[min(align(int(n)), len(b)):], true
}

// nextAttribute splits the first attribute off b, its type without flags. It
// reports false if b is malformed.
func nextAttribute(b []byte) (typ uint16, data, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlAttr {
		return 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofNlAttr || n > len(b) {
		return 0, nil, nil, false
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	return typ, b[unix.SizeofNlAttr:n], b[min(align(n), len(b)):], true
}

// align rounds up to where the next message or attribute begins.
func align(n int) int { return (n + 3) &^ 3 }

// flow reads a message of a dump. It reports false if the message is no flow.
func (m *message) flow(f *flow) bool {
	if m.typ != unix.NFNL_SUBSYS_CTNETLINK<<8|msgNew || len(m.payload) < sizeofNfgenmsg {
		return false
	}
	return f.parse(family(m.payload[0]), m.payload[sizeofNfgenmsg:])
}

// errno reads the result in an NLMSG_ERROR or NLMSG_DONE message; 0 is success.
func (m *message) errno() unix.Errno {
	if len(m.payload) < 4 {
		return 0
	}
	if code := int32(binary.NativeEndian.Uint32(m.payload)); code < 0 {
		return unix.Errno(-code)
	}
	return 0
}
