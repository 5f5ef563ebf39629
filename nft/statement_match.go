package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ctNew matches the first packet of a connection.
type ctNew struct{}

// CtStateNew is the match `ct state new`.
func CtStateNew() Statement { return ctNew{} }

func (ctNew) String() string { return "ct state new" }

func (ctNew) compile(p *program) { p.ctBit(expr.CtKeySTATE, expr.CtStateBitNEW, expr.CmpOpNeq) }

// ctDNAT matches connections whose destination was translated, or was not.
type ctDNAT struct{ not bool }

// CtStatusDNAT is the match `ct status dnat`.
func CtStatusDNAT() Statement { return ctDNAT{} }

// CtStatusNotDNAT is the match `ct status ! dnat`.
func CtStatusNotDNAT() Statement { return ctDNAT{not: true} }

func (s ctDNAT) String() string {
	if s.not {
		return "ct status ! dnat"
	}
	return "ct status dnat"
}

func (s ctDNAT) compile(p *program) {
	const ipsDstNAT = 1 << 5 // IPS_DST_NAT, include/uapi/linux/netfilter/nf_conntrack_common.h
	op := expr.CmpOpNeq
	if s.not {
		op = expr.CmpOpEq
	}
	p.ctBit(expr.CtKeySTATUS, ipsDstNAT, op)
}

// ctBit matches if a bit of a conntrack field is set (CmpOpNeq), or is not (CmpOpEq).
func (p *program) ctBit(key expr.CtKey, bit uint32, op expr.CmpOp) {
	p.add(&expr.Ct{Register: unix.NFT_REG_1, Key: key})
	p.bit(bit, op)
}

// bit matches if a bit of register 1 is set (CmpOpNeq), or is not (CmpOpEq).
func (p *program) bit(bit uint32, op expr.CmpOp) {
	p.bitwise(bit, 0)
	p.add(&expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: make([]byte, 4)})
}

// bitwise computes register 1 = (register 1 & mask) ^ xor.
func (p *program) bitwise(mask, xor uint32) {
	p.add(&expr.Bitwise{
		SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4,
		Mask: hostUint32(mask), Xor: hostUint32(xor),
	})
}

func hostUint32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// notInPrefix matches packets with an address outside of a prefix.
type notInPrefix struct {
	field  Field
	prefix netip.Prefix
}

// NotInPrefix matches packets whose address in a field is not in a prefix, which has
// the field's family and at least one bit. It costs a quarter of what a set of
// prefixes does.
func NotInPrefix(field Field, prefix netip.Prefix) Statement {
	return notInPrefix{field, prefix.Masked()}
}

func (s notInPrefix) String() string {
	if s.prefix.IsSingleIP() {
		return fmt.Sprintf("%s != %s", s.field, s.prefix.Addr())
	}
	return fmt.Sprintf("%s != %s", s.field, s.prefix)
}

func (s notInPrefix) compile(p *program) {
	p.load(0, []Field{s.field})
	addr := s.prefix.Addr().AsSlice()
	if !s.prefix.IsSingleIP() {
		mask := net.CIDRMask(s.prefix.Bits(), s.prefix.Addr().BitLen())
		p.add(&expr.Bitwise{
			SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: uint32(len(addr)),
			Mask: mask, Xor: make([]byte, len(addr)),
		})
	}
	p.add(&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: addr})
}

// l4proto matches one transport protocol.
type l4proto Protocol

// MatchL4Proto matches packets of one transport protocol. nft needs it before
// `ct original proto-dst` to know the field's type.
func MatchL4Proto(proto Protocol) Statement { return l4proto(proto) }

func (s l4proto) String() string { return "meta l4proto " + Protocol(s).String() }

func (s l4proto) compile(p *program) {
	p.add(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{byte(s)}},
	)
}

// nfproto matches one network protocol.
type nfproto uint32

// The matches `meta nfproto ipv4` and `meta nfproto ipv6`.
const (
	MatchIPv4 nfproto = unix.NFPROTO_IPV4
	MatchIPv6 nfproto = unix.NFPROTO_IPV6
)

func (s nfproto) String() string {
	if s == MatchIPv6 {
		return "meta nfproto ipv6"
	}
	return "meta nfproto ipv4"
}

func (s nfproto) compile(p *program) { p.needFamily(uint32(s)) }

// fibLocal matches packets whose source is an address of this host.
type fibLocal struct{}

// FibSaddrLocal is the match `fib saddr type local`.
func FibSaddrLocal() Statement { return fibLocal{} }

func (fibLocal) String() string { return "fib saddr type local" }

func (fibLocal) compile(p *program) {
	p.add(
		&expr.Fib{Register: unix.NFT_REG_1, FlagSADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: hostUint32(unix.RTN_LOCAL)},
	)
}

// iifname matches the name of the interface that a packet came in by.
type iifname struct {
	name string
	not  bool
}

// Iifname matches packets that came in by an interface of that name, or by any
// whose name begins so if the name ends in "*". A packet of this host came in by
// none.
func Iifname(name string) Statement { return iifname{name, false} }

// NotIifname matches packets that did not come in by such an interface.
func NotIifname(name string) Statement { return iifname{name, true} }

func (s iifname) String() string {
	op := ""
	if s.not {
		op = "!= "
	}
	return fmt.Sprintf("iifname %s%q", op, s.name)
}

func (s iifname) compile(p *program) {
	name := make([]byte, unix.IFNAMSIZ) // padded: the whole name is compared
	if prefix, ok := strings.CutSuffix(s.name, "*"); ok {
		name = []byte(prefix)
	} else {
		copy(name, s.name)
	}
	op := expr.CmpOpEq
	if s.not {
		op = expr.CmpOpNeq
	}
	p.add(
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: name},
	)
}
