package nft

import "testing"

// FuzzDecode: no bytes may do worse than give a strange text.
func FuzzDecode(f *testing.F) {
	for _, r := range []Rule{
		NewRule(CtStateNew(), CtStatusDNAT(), JumpChain("a")),
		NewRule(Vmap("services4", IPDaddr, L4Proto, ThDport)),
		NewRule(DNAT6("backends6", IP6Daddr, L4Proto, ThDport, NumgenRandom(8))),
		NewRule(MatchL4Proto(TCP), Update("affinity4", []Field{IPSaddr, CtOriginalIPDaddr}, 3600e9, []Field{IPDaddr, ThDport})),
		NewRule(MatchIPv6, MarkIsSet(1), FlipMark(1), SetMark(2), Masquerade(), Reject(), Trace(), FibSaddrLocal(), NotIifname("veth*")),
	} {
		if text := (Rule{ReadBytecode: r.Bytecode()}).String(); text != r.String() {
			f.Errorf("%s is read as %s", r, text)
		}
		f.Add(r.Bytecode())
	}
	f.Fuzz(func(_ *testing.T, bytecode []byte) { _ = decode(bytecode) })
}
