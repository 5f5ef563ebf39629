package nft

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// trace makes the kernel tell of each rule that the packet meets from here on.
type trace struct{}

// Trace is the statement `meta nftrace set 1`.
func Trace() Statement { return trace{} }

func (trace) String() string { return "meta nftrace set 1" }

func (trace) compile(p *program) {
	p.add(
		&expr.Immediate{Register: unix.NFT_REG_1, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: unix.NFT_REG_1},
	)
}
