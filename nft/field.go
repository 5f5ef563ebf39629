package nft

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Field is a value that a packet (or its connection) carries: one part of the
// key of a lookup. Its text and its bytecode stand side by side below.
type Field struct {
	text   string
	typ    Type
	family uint32 // NFPROTO_IPV4 or _IPV6 where the rule must match that first
	load   func(reg uint32) expr.Any
}

func (f Field) String() string { return f.text }

// Type is the field's data type.
func (f Field) Type() Type { return f.typ }

// Addresses and ports of the packet as it is now (after a DNAT: the backend's),
// and of the packet that began the connection.
var (
	IPSaddr = Field{"ip saddr", IPv4Addr, unix.NFPROTO_IPV4, networkHeader(12, 4)}
	IPDaddr = Field{"ip daddr", IPv4Addr, unix.NFPROTO_IPV4, networkHeader(16, 4)}

	IP6Saddr = Field{"ip6 saddr", IPv6Addr, unix.NFPROTO_IPV6, networkHeader(8, 16)}
	IP6Daddr = Field{"ip6 daddr", IPv6Addr, unix.NFPROTO_IPV6, networkHeader(24, 16)}

	L4Proto = Field{"meta l4proto", InetProto, 0, func(reg uint32) expr.Any {
		return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}
	}}
	// ThDport is the destination port of any transport protocol that has it where
	// TCP has it: UDP and SCTP do.
	ThDport = Field{"th dport", InetService, 0, func(reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	}}

	// Of a connection of the other family the kernel loads no address, and the rule
	// does not match: no test of the family is needed before these.
	CtOriginalIPDaddr  = Field{"ct original ip daddr", IPv4Addr, 0, ctOriginal(expr.CtKeyDSTIP)}
	CtOriginalIP6Daddr = Field{"ct original ip6 daddr", IPv6Addr, 0, ctOriginal(expr.CtKeyDSTIP6)}
	CtOriginalProtoDst = Field{"ct original proto-dst", InetService, 0, ctOriginal(expr.CtKeyPROTODST)}
)

// NumgenRandom is a random number from 0 to mod-1, new at each evaluation.
func NumgenRandom(mod uint32) Field {
	return Field{fmt.Sprintf("numgen random mod %d", mod), Mark, 0, func(reg uint32) expr.Any {
		return &expr.Numgen{Register: reg, Modulus: mod, Type: unix.NFT_NG_RANDOM}
	}}
}

func networkHeader(offset, length uint32) func(uint32) expr.Any {
	return func(reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
	}
}

// ctOriginal loads from the original direction of the connection's tuple. In an
// inet table the kernel takes the keys that name their family (kernel 4.17).
func ctOriginal(key expr.CtKey) func(uint32) expr.Any {
	return func(reg uint32) expr.Any {
		return &expr.Ct{Register: reg, Key: key, Direction: expr.CtDirOriginal}
	}
}
