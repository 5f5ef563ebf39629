package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Type is the data type of one field of a set's key or data.
type Type uint8

// The data types kube-vmap uses. Their names, sizes and numbers are those of
// nft (nftables include/datatype.h, enum datatypes).
const (
	IPv4Addr Type = iota + 1
	IPv6Addr
	InetProto
	InetService
	Mark
)

type typeInfo struct {
	name string
	size int    // bytes, without the padding of a concatenation
	id   uint32 // nft's number of the type
}

var types = [...]typeInfo{
	IPv4Addr:    {"ipv4_addr", 4, 7},
	IPv6Addr:    {"ipv6_addr", 16, 8},
	InetProto:   {"inet_proto", 1, 12},
	InetService: {"inet_service", 2, 13},
	Mark:        {"mark", 4, 19},
}

func (t Type) String() string { return types[t].name }

// Size is the type's size in bytes, without padding.
func (t Type) Size() int { return types[t].size }

// paddedSize is the size of the type as a field of a concatenation: the kernel
// rounds each field up to a 32-bit register.
func (t Type) paddedSize() int { return (types[t].size + 3) &^ 3 }

// text prints the field's bytes as nft does.
func (t Type) text(b []byte) string {
	switch t {
	case IPv4Addr:
		return netip.AddrFrom4([4]byte(b)).String()
	case IPv6Addr:
		return netip.AddrFrom16([16]byte(b)).String()
	case InetProto:
		return Protocol(b[0]).String()
	case InetService:
		return strconv.Itoa(int(binary.BigEndian.Uint16(b)))
	case Mark:
		return fmt.Sprintf("0x%08x", binary.NativeEndian.Uint32(b))
	}
	return fmt.Sprintf("%#x", b)
}

// Types are the fields of a concatenation, in order. One field alone is a
// plain key.
type Types []Type

// String joins the types as nft does: "ipv4_addr . inet_proto".
func (ts Types) String() string {
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.String()
	}
	return strings.Join(names, " . ")
}

// Size is the length in bytes that a set of these types has in the kernel: with
// each field padded to 4 bytes if there are several, and without padding if there
// is one. (A Value is padded in both cases.)
func (ts Types) Size() int {
	if len(ts) == 1 {
		return ts[0].Size()
	}
	n := 0
	for _, t := range ts {
		n += t.paddedSize()
	}
	return n
}

// ID is nft's number of the concatenation: 6 bits per type, the first highest.
func (ts Types) ID() uint32 {
	var id uint32
	for _, t := range ts {
		id = id<<6 | types[t].id
	}
	return id
}

// TypesOf is the inverse of ID. ok is false for numbers with types that kube-vmap
// does not use, and for concatenations too long for a Value.
func TypesOf(id uint32) (ts Types, ok bool) {
	for ; id != 0; id >>= 6 {
		t := slices.IndexFunc(types[:], func(t typeInfo) bool { return t.id == id&0x3f })
		if t <= 0 {
			return nil, false
		}
		ts = append(ts, Type(t))
	}
	slices.Reverse(ts)
	return ts, len(ts) > 0 && ts.Size() <= maxValue
}

// maxValue is the longest value in use: an IPv6 affinity key
// (two addresses, protocol and port).
const maxValue = 40

// Value is a key or the data of an element, with its bytes laid out as the
// kernel wants them: every field of a concatenation padded to 4 bytes,
// addresses and ports in network order, marks in host order. The zero Value is
// empty. Values are comparable and hold no pointer.
type Value struct {
	n uint8
	b [maxValue]byte
}

// Addr returns v with an address appended: 4 bytes for IPv4, else 16.
func (v Value) Addr(a netip.Addr) Value {
	if a.Is4() {
		b := a.As4()
		v.n += uint8(copy(v.b[v.n:], b[:]))
		return v
	}
	b := a.As16()
	v.n += uint8(copy(v.b[v.n:], b[:]))
	return v
}

// Protocol returns v with a transport protocol appended.
func (v Value) Protocol(p Protocol) Value {
	v.b[v.n] = byte(p)
	v.n += 4
	return v
}

// Port returns v with a port appended.
func (v Value) Port(port uint16) Value {
	binary.BigEndian.PutUint16(v.b[v.n:], port)
	v.n += 4
	return v
}

// Mark returns v with a 32-bit number in host order appended.
func (v Value) Mark(m uint32) Value {
	binary.NativeEndian.PutUint32(v.b[v.n:], m)
	v.n += 4
	return v
}

// ValueOf takes the bytes as the kernel gives them, and pads a single field as a
// concatenation is. It fails if they are longer than any value in use.
func ValueOf(b []byte) (Value, error) {
	var v Value
	if len(b) > maxValue {
		return v, fmt.Errorf("read value: %d bytes, at most %d expected", len(b), maxValue)
	}
	v.n = uint8(copy(v.b[:], b)+3) &^ 3
	return v, nil
}

// Len is the value's length in bytes.
func (v *Value) Len() int { return int(v.n) }

// Bytes is the value as the kernel lays it out. It aliases v.
func (v *Value) Bytes() []byte { return v.b[:v.n] }

// IsZero reports whether the value is empty: absent, for data and interval ends.
func (v *Value) IsZero() bool { return v.n == 0 }

// AddrAt reads the address that begins at byte offset off: 4 bytes if is4, else 16.
// It returns the invalid address if the value is too short.
func (v *Value) AddrAt(off int, is4 bool) netip.Addr {
	switch {
	case is4 && off+4 <= int(v.n):
		return netip.AddrFrom4([4]byte(v.b[off:]))
	case !is4 && off+16 <= int(v.n):
		return netip.AddrFrom16([16]byte(v.b[off:]))
	}
	return netip.Addr{}
}

// PortAt reads the port at byte offset off, 0 if the value is too short.
func (v *Value) PortAt(off int) uint16 {
	if off+2 > int(v.n) {
		return 0
	}
	return binary.BigEndian.Uint16(v.b[off:])
}

// ProtocolAt reads the protocol at byte offset off, 0 if the value is too short.
func (v *Value) ProtocolAt(off int) Protocol {
	if off >= int(v.n) {
		return 0
	}
	return Protocol(v.b[off])
}

// MarkAt reads the 32-bit number in host order at byte offset off, 0 if the
// value is too short.
func (v *Value) MarkAt(off int) uint32 {
	if off+4 > int(v.n) {
		return 0
	}
	return binary.NativeEndian.Uint32(v.b[off:])
}

// Text prints the value as nft does for the given types. A value that does not
// fit the types is printed in hexadecimal.
func (v *Value) Text(ts Types) string {
	if int(v.n) != (ts.Size()+3)&^3 {
		return fmt.Sprintf("%#x", v.Bytes())
	}
	var sb strings.Builder
	off := 0
	for i, t := range ts {
		if i > 0 {
			sb.WriteString(" . ")
		}
		sb.WriteString(t.text(v.b[off : off+t.Size()]))
		off += t.paddedSize()
	}
	return sb.String()
}

// Protocol is a transport protocol by its IANA number.
type Protocol uint8

// The protocols that Kubernetes Services know.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String is the protocol's name in nft, or its number.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}
