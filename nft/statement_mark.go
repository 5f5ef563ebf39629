package nft

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// markIsSet matches packets that carry a bit of the packet mark.
type markIsSet uint32

// MarkIsSet matches packets whose mark has the bit.
func MarkIsSet(bit uint32) Statement { return markIsSet(bit) }

func (s markIsSet) String() string { return fmt.Sprintf("meta mark & 0x%08x != 0x00000000", uint32(s)) }

func (s markIsSet) compile(p *program) {
	p.add(&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1})
	p.bit(uint32(s), expr.CmpOpNeq)
}

// setMark sets a bit of the packet mark.
type setMark uint32

// SetMark sets a bit of the packet mark and leaves the others.
func SetMark(bit uint32) Statement { return setMark(bit) }

func (s setMark) String() string { return fmt.Sprintf("meta mark set meta mark | 0x%08x", uint32(s)) }

func (s setMark) compile(p *program) { p.changeMark(^uint32(s), uint32(s)) }

// flipMark inverts a bit of the packet mark.
type flipMark uint32

// FlipMark inverts a bit of the packet mark: behind MarkIsSet it clears it.
func FlipMark(bit uint32) Statement { return flipMark(bit) }

func (s flipMark) String() string { return fmt.Sprintf("meta mark set meta mark ^ 0x%08x", uint32(s)) }

func (s flipMark) compile(p *program) { p.changeMark(^uint32(0), uint32(s)) }

// changeMark sets mark = (mark & mask) ^ xor.
func (p *program) changeMark(mask, xor uint32) {
	p.add(&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1})
	p.bitwise(mask, xor)
	p.add(&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: unix.NFT_REG_1})
}

// masquerade translates the source to the address of the outgoing interface.
type masquerade struct{}

// Masquerade translates the source to the address of the outgoing interface,
// with a port chosen at random, which keeps two connections that begin at the
// same time from racing for one port.
func Masquerade() Statement { return masquerade{} }

func (masquerade) String() string { return "masquerade fully-random" }

func (masquerade) compile(p *program) { p.add(&expr.Masq{FullyRandom: true}) }
