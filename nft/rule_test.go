package nft

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// expression is the bytecode of one expression with raw attributes.
func expression(name string, data []byte) []byte {
	b := appendAttr(nil, unix.NFTA_EXPR_NAME, append([]byte(name), 0))
	b = appendAttr(b, unix.NFTA_EXPR_DATA|unix.NLA_F_NESTED, data)
	return appendAttr(nil, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, b)
}

func number(typ uint16, n uint32) []byte {
	return appendAttr(nil, typ, binary.BigEndian.AppendUint32(nil, n))
}

// TestSameRule compares bytecode as kernels vary it.
func TestSameRule(t *testing.T) {
	lookup := func(attributes ...[]byte) []byte { return expression("lookup", bytes.Join(attributes, nil)) }
	set, reg, id := appendAttr(nil, unix.NFTA_LOOKUP_SET, []byte("s\x00")), number(unix.NFTA_LOOKUP_SREG, 1), number(unix.NFTA_LOOKUP_SET_ID, 7)
	flags := number(unix.NFTA_LOOKUP_FLAGS, 0)
	tests := []struct {
		name string
		a, b []byte
		same bool
	}{
		{"nothing", nil, nil, true},
		{"something and nothing", lookup(set, reg), nil, false},
		{"another order of attributes", lookup(set, reg), lookup(reg, set), true},
		{"an id of the transaction", lookup(set, reg, id), lookup(set, reg), true},
		{"a zero and no attribute", lookup(set, reg, flags), lookup(set, reg), true},
		{"a flag", lookup(set, reg, number(unix.NFTA_LOOKUP_FLAGS, 1)), lookup(set, reg), false},
		{"an attribute less", lookup(set), lookup(set, reg), false},
		{"another value", lookup(set, reg), lookup(set, number(unix.NFTA_LOOKUP_SREG, 2)), false},
		{"another expression", lookup(set, reg), expression("dynset", append(bytes.Clone(set), reg...)), false},
		{"an expression more", append(lookup(set, reg), lookup(set, reg)...), lookup(set, reg), false},
		{"flags that follow from registers", expression("nat", number(unix.NFTA_NAT_FLAGS, 3)), expression("nat", nil), true},
		{"flags that do not", expression("nat", number(unix.NFTA_NAT_FLAGS, 4)), expression("nat", nil), false},
	}
	for _, tt := range tests {
		a, b := Rule{ReadBytecode: append([]byte{}, tt.a...)}, Rule{ReadBytecode: append([]byte{}, tt.b...)}
		if SameRule(a, b) != tt.same || SameRule(b, a) != tt.same {
			t.Errorf("%s: SameRule is %v and %v, want %v", tt.name, SameRule(a, b), SameRule(b, a), tt.same)
		}
	}
}

// FuzzSameRule compares bytes that no kernel would give.
func FuzzSameRule(f *testing.F) {
	f.Add([]byte{}, NewRule(Reject()).Bytecode())
	f.Add(NewRule(DNAT("backends4", IPDaddr, NumgenRandom(4))).Bytecode(), NewRule(Masquerade()).Bytecode())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, y := Rule{ReadBytecode: append([]byte{}, a...)}, Rule{ReadBytecode: append([]byte{}, b...)}
		if !SameRule(x, x) || !SameRule(y, y) {
			t.Error("a rule differs from itself")
		}
		if SameRule(x, y) != SameRule(y, x) {
			t.Error("the order matters")
		}
	})
}

func TestVerdicts(t *testing.T) {
	for _, want := range []Verdict{{Kind: Accept}, {Kind: Drop}, {Kind: Return}, JumpChain("a"), GotoChain("b")} {
		if got, ok := VerdictOf(want.Code(), want.Chain); !ok || got != want {
			t.Errorf("verdict %s is read as %s", want, got)
		}
	}
	if v, ok := VerdictOf(3, ""); ok { // NF_QUEUE
		t.Errorf("an unknown verdict is read as %s", v)
	}
}
