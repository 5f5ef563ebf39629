package kernel

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// buffer is a netlink message, or many, being written. It is reused from batch
// to batch, so that encoding allocates nothing once it has grown.
type buffer []byte

// pad fills up to the next multiple of 4, where the next attribute begins.
func (b *buffer) pad() {
	for len(*b)%4 != 0 {
		*b = append(*b, 0)
	}
}

func (b *buffer) header(typ uint16, payload int) {
	*b = binary.NativeEndian.AppendUint16(*b, uint16(unix.SizeofNlAttr+payload))
	*b = binary.NativeEndian.AppendUint16(*b, typ)
}

// bytes appends an attribute.
func (b *buffer) bytes(typ uint16, data []byte) {
	b.header(typ, len(data))
	*b = append(*b, data...)
	b.pad()
}

// string appends a string attribute, with the NUL at its end.
func (b *buffer) string(typ uint16, s string) {
	b.header(typ, len(s)+1)
	*b = append(*b, s...)
	*b = append(*b, 0)
	b.pad()
}

// uint32 appends a number. The numbers in nf_tables attributes are big endian.
func (b *buffer) uint32(typ uint16, n uint32) {
	b.header(typ, 4)
	*b = binary.BigEndian.AppendUint32(*b, n)
}

func (b *buffer) uint64(typ uint16, n uint64) {
	b.header(typ, 8)
	*b = binary.BigEndian.AppendUint64(*b, n)
}

// open begins a nested attribute; close sets its length. What stands between
// may take at most 64 KiB, the range of an attribute's length.
func (b *buffer) open(typ uint16) (at int) {
	at = len(*b)
	b.header(typ|unix.NLA_F_NESTED, 0)
	return at
}

func (b *buffer) close(at int) {
	binary.NativeEndian.PutUint16((*b)[at:], uint16(len(*b)-at))
}

// attrs are the attributes in b, in order. Whatever is malformed ends them: the
// bytes come from the kernel, and no bytes may do worse than end early.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofNlAttr || n > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(typ, b[unix.SizeofNlAttr:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// readUint32 reads a big endian number, 0 if b is too short.
func readUint32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func readUint64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// trimNUL cuts a C string at its end.
func trimNUL(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}
