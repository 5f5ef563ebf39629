package nft

import (
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rule is a list of statements, or the bytecode of a rule as read from the kernel.
type Rule struct {
	Statements []Statement

	// Unloadable says why nft can't load the rule's text, although the kernel
	// takes its bytecode and nft lists it. Such a rule is rendered as a comment.
	Unloadable string

	// ReadBytecode is the bytecode of a rule that was read from the kernel, nil
	// in a wanted rule.
	ReadBytecode []byte
	Handle       uint64 // the kernel's number of a rule that was read
}

// NewRule makes a rule of statements.
func NewRule(statements ...Statement) Rule { return Rule{Statements: statements} }

// String is the rule's text as nft prints it, up to the spelling of numbers. Of a
// rule that was read from the kernel it is decoded.
func (r Rule) String() string {
	if r.Statements == nil {
		if text := decode(r.ReadBytecode); text != "" {
			return text
		}
		return fmt.Sprintf("# %d bytes of bytecode", len(r.ReadBytecode))
	}
	parts := make([]string, len(r.Statements))
	for i, s := range r.Statements {
		parts[i] = s.String()
	}
	return strings.Join(parts, " ")
}

// Bytecode is the rule as the kernel takes it in NFTA_RULE_EXPRESSIONS: a list
// of netlink attributes, one per expression. A rule of this package's
// statements always has bytecode; an error would be a statement that breaks its
// contract, hence the panic.
func (r Rule) Bytecode() []byte {
	if r.ReadBytecode != nil {
		return r.ReadBytecode
	}
	var p program
	for _, s := range r.Statements {
		s.compile(&p)
	}
	var out []byte
	for _, e := range p.exprs {
		b, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			panic(fmt.Sprintf("nft: bytecode of %q: %v", r, err))
		}
		out = appendAttr(out, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, b)
	}
	return out
}

// SameRule reports whether two rules, read from the kernel or wanted, do the
// same: the same expressions with the same attributes, but for those that the
// kernel derives, and for set ids, which hold within one transaction only.
func SameRule(a, b Rule) bool { return sameExpressions(a.Bytecode(), b.Bytecode()) }
