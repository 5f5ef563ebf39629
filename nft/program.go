package nft

import (
	"bytes"
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// program collects the expressions of one rule.
type program struct {
	exprs  []expr.Any
	family uint32 // the network protocol the rule is known to match, 0 if any
}

func (p *program) add(e ...expr.Any) { p.exprs = append(p.exprs, e...) }

// needFamily makes the rule match one network protocol only, once. In an inet
// table a rule that loads IP header fields needs this test; nft hides it in its
// listing when a field implies it.
func (p *program) needFamily(family uint32) {
	if p.family == family {
		return
	}
	p.family = family
	p.add(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{byte(family)}},
	)
}

// register32 names the 32-bit register at a byte offset into the register
// file: 8 (NFT_REG32_00) is the first. The first of four has two names, and the
// kernel and nft print the 128-bit one.
func register32(offset int) uint32 {
	if offset%16 == 0 {
		return unix.NFT_REG_1 + uint32(offset/16)
	}
	return unix.NFT_REG32_00 + uint32(offset/4)
}

// load loads the fields as a concatenation from register offset off on and
// returns the offset behind them.
func (p *program) load(off int, fields []Field) int {
	for _, f := range fields {
		if f.family != 0 {
			p.needFamily(f.family)
		}
	}
	for _, f := range fields {
		p.add(f.load(register32(off)))
		off += f.typ.paddedSize()
	}
	return off
}

// appendAttr appends one netlink attribute, padded to 4 bytes.
func appendAttr(b []byte, typ uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// nextAttr splits the first attribute off b. ok is false at the end or if b is
// malformed.
func nextAttr(b []byte) (typ uint16, data, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < 4 || n > len(b) {
		return 0, nil, nil, false
	}
	typ = binary.NativeEndian.Uint16(b[2:])
	return typ &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), b[4:n], b[min((n+3)&^3, len(b)):], true
}

// sameExpressions compares two lists of expressions.
func sameExpressions(have, want []byte) bool {
	for {
		_, h, restHave, okHave := nextAttr(have)
		_, w, restWant, okWant := nextAttr(want)
		if !okHave || !okWant {
			return okHave == okWant
		}
		if bytes.Equal(h, w) {
			have, want = restHave, restWant
			continue
		}
		name := findAttr(h, unix.NFTA_EXPR_NAME)
		if !bytes.Equal(name, findAttr(w, unix.NFTA_EXPR_NAME)) {
			return false
		}
		dataHave, dataWant := findAttr(h, unix.NFTA_EXPR_DATA), findAttr(w, unix.NFTA_EXPR_DATA)
		if !containsAttrs(name, dataHave, dataWant) || !containsAttrs(name, dataWant, dataHave) {
			return false
		}
		have, want = restHave, restWant
	}
}

// containsAttrs reports whether each attribute of part, the data of the named
// expression, stands in whole with the same value. An attribute of zeroes says
// what its absence says: kernels differ in which of those they print.
func containsAttrs(name, whole, part []byte) bool {
	for {
		typ, value, rest, ok := nextAttr(part)
		if !ok {
			return true
		}
		part = rest
		value = canonical(name, typ, value)
		other := canonical(name, typ, findAttr(whole, typ))
		if isZero(value) && isZero(other) {
			continue
		}
		if !bytes.Equal(value, other) {
			return false
		}
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// canonical returns an attribute's value in the form in which two rules that do
// the same agree: without what the kernel derives from other attributes,
// without ids that hold within one transaction, and without the flag of nested
// attributes.
func canonical(name []byte, typ uint16, value []byte) []byte {
	switch string(name) {
	case "lookup\x00":
		if typ == unix.NFTA_LOOKUP_SET_ID {
			return nil
		}
	case "dynset\x00":
		if typ == unix.NFTA_DYNSET_SET_ID {
			return nil
		}
	case "nat\x00":
		if typ == unix.NFTA_NAT_FLAGS && len(value) == 4 {
			// NF_NAT_RANGE_MAP_IPS and _PROTO_SPECIFIED follow from the registers.
			return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(value)&^3)
		}
	}
	return clearNested(value)
}

// clearNested clears the flag of nested attributes, one level deep, if the
// bytes are a list of attributes at all.
func clearNested(b []byte) []byte {
	out := bytes.Clone(b)
	for i := 0; i+4 <= len(out); {
		n := int(binary.NativeEndian.Uint16(out[i:]))
		if n < 4 || i+n > len(out) {
			return b
		}
		typ := binary.NativeEndian.Uint16(out[i+2:])
		binary.NativeEndian.PutUint16(out[i+2:], typ&^unix.NLA_F_NESTED)
		i += (n + 3) &^ 3
	}
	return out
}

// findAttr finds the first attribute of a type, nil if there is none.
func findAttr(b []byte, want uint16) []byte {
	for {
		typ, data, rest, ok := nextAttr(b)
		if !ok {
			return nil
		}
		if typ == want {
			return data
		}
		b = rest
	}
}
