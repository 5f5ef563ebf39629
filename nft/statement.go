package nft

import (
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Statement is one part of a rule: a match that lets the packet go on, or an
// action. String is its text in nft's language, compile its bytecode; the two
// stand side by side in each implementation, and the tests of nft/kernel prove
// that the kernel lists the bytecode as the text.
type Statement interface {
	String() string
	compile(p *program)
}

// Verdict ends a rule, or is the value of an element of a verdict map.
type Verdict struct {
	Kind  VerdictKind
	Chain string // of Jump and Goto
}

// VerdictKind is what happens to the packet.
type VerdictKind uint8

// The kinds of verdicts. None is no verdict at all.
const (
	None VerdictKind = iota
	Accept
	Drop
	Return
	Jump
	Goto
)

var verdictKinds = [...]struct {
	text string
	code expr.VerdictKind
}{
	None:   {"", 0},
	Accept: {"accept", expr.VerdictAccept},
	Drop:   {"drop", expr.VerdictDrop},
	Return: {"return", expr.VerdictReturn},
	Jump:   {"jump", expr.VerdictJump},
	Goto:   {"goto", expr.VerdictGoto},
}

// GotoChain continues in another chain and does not come back: at the chain's end
// the packet returns to where the calling chain was called from.
func GotoChain(chain string) Verdict { return Verdict{Goto, chain} }

// JumpChain continues in another chain and comes back at its end.
func JumpChain(chain string) Verdict { return Verdict{Jump, chain} }

// Code is the verdict's number in the kernel (enum nft_verdicts, NF_ACCEPT, NF_DROP).
func (v Verdict) Code() int32 { return int32(verdictKinds[v.Kind].code) }

// VerdictOf reads a verdict from the kernel's number. ok is false for a number
// that kube-vmap never writes.
func VerdictOf(code int32, chain string) (v Verdict, ok bool) {
	for kind, k := range verdictKinds {
		if kind != int(None) && int32(k.code) == code {
			return Verdict{VerdictKind(kind), chain}, true
		}
	}
	return Verdict{}, false
}

func (v Verdict) String() string {
	if v.Chain == "" {
		return verdictKinds[v.Kind].text
	}
	return verdictKinds[v.Kind].text + " " + v.Chain
}

func (v Verdict) compile(p *program) {
	p.add(&expr.Verdict{Kind: verdictKinds[v.Kind].code, Chain: v.Chain})
}

// reject refuses a packet with ICMP port unreachable: a TCP client sees
// "connection refused", a UDP client the same on its next call.
type reject struct{}

// Reject is the statement `reject`.
func Reject() Statement { return reject{} }

func (reject) String() string { return "reject" }

func (reject) compile(p *program) {
	p.add(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
}

// concat joins fields as nft writes a concatenation.
func concat(fields []Field) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.text
	}
	return strings.Join(texts, " . ")
}
