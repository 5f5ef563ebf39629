package takeover

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// layout is where the kernel's struct ipt_entry or ip6t_entry has what matters
// (uapi/linux/netfilter_ipv4/ip_tables.h, .../netfilter_ipv6/ip6_tables.h).
type layout struct {
	target, next int // 16-bit offsets within the entry: of the target, of the next entry
	counters     int // two 64-bit counters
	size         int // of the struct: matches follow, then the target
}

var layouts = map[family]layout{
	families[0]: {target: 88, next: 90, counters: 96, size: 112},
	families[1]: {target: 140, next: 142, counters: 152, size: 168},
}

const (
	sizeofCounters = 16
	// struct xt_entry_target: its length in 16 bits, a name of 29 bytes, a
	// revision; then what the target has of its own: a verdict, an error's name.
	sizeofTarget = 32
	targetName   = 2
	maxName      = 29
)

// hooks of a table: PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING.
var hookNames = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// hookOffsets are offsets of entries, by hook.
type hookOffsets [5]uint32

// blob is a table of ip_tables or ip6_tables as the kernel gives and takes it: all
// chains in one stretch of entries, which refer to each other by offset.
type blob struct {
	layout
	name       string
	validHooks uint32
	entry      hookOffsets // of the first rule of a built-in chain
	underflow  hookOffsets // of its policy
	bytes      []byte
	entries    []entry
}

// entry is a rule, a chain's end (the policy; of a user's chain, a return), or the
// head of a user's chain (a target ERROR with its name).
type entry struct {
	at, size int
	chain    string
	builtIn  bool
	head     bool
	jump     int // offset of the first rule of another chain; 0: none
}

// end is the head of the last entry, which has no chain.
const end = "ERROR"

// parse finds the entries.
func (b *blob) parse() error {
	begins := map[int]string{}
	for h, name := range hookNames {
		if b.validHooks&(1<<h) != 0 {
			begins[int(b.entry[h])] = name
		}
	}
	var in entry // the chain
	for at := 0; at < len(b.bytes); {
		e, head, err := b.parseEntry(at)
		if err != nil {
			return fmt.Errorf("entry at %d of %d bytes: %w", at, len(b.bytes), err)
		}
		if head != "" {
			in = entry{chain: head}
			e.head = true
		} else if name, ok := begins[at]; ok {
			in = entry{chain: name, builtIn: true}
		}
		e.chain, e.builtIn = in.chain, in.builtIn
		b.entries = append(b.entries, e)
		at += e.size
	}
	if n := len(b.entries); n == 0 || !b.entries[n-1].head || b.entries[n-1].chain != end {
		return errors.New("the end is missing")
	}
	return b.check()
}

// check makes sure that whatever refers to an entry refers to one that is there.
func (b *blob) check() error {
	at := map[int]bool{}
	for _, e := range b.entries {
		at[e.at] = true
	}
	for _, e := range b.entries {
		if !at[e.jump] {
			return fmt.Errorf("entry at %d goes on at %d, where none is", e.at, e.jump)
		}
	}
	for h, name := range hookNames {
		if b.validHooks&(1<<h) != 0 && (!at[int(b.entry[h])] || !at[int(b.underflow[h])]) {
			return fmt.Errorf("chain %s is not where it should be", name)
		}
	}
	return nil
}

// parseEntry reads one entry; head is the name if it begins a user's chain.
func (b *blob) parseEntry(at int) (e entry, head string, err error) {
	rest := b.bytes[at:]
	if len(rest) < b.size {
		return e, "", errors.New("it is cut off")
	}
	target := int(binary.NativeEndian.Uint16(rest[b.target:]))
	size := int(binary.NativeEndian.Uint16(rest[b.next:]))
	if target < b.size || size > len(rest) || target+sizeofTarget > size {
		return e, "", errors.New("its lengths are impossible")
	}
	e = entry{at: at, size: size}
	t := rest[target:size]
	switch name := cString(t[targetName : targetName+maxName]); {
	case name == end && len(t) > sizeofTarget:
		head = cString(t[sizeofTarget:])
	case name == "" && len(t) >= sizeofTarget+4:
		// A verdict from 0 on is the offset to go on at. A rule without a target goes
		// on at the next entry.
		if verdict := int(int32(binary.NativeEndian.Uint32(t[sizeofTarget:]))); verdict >= 0 && verdict != at+size {
			e.jump = verdict
		}
	}
	return e, head, nil
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// table is what matters of the blob.
func (b *blob) table(f family) *table {
	t := &table{family: f, name: b.name}
	starts := b.starts()
	for _, e := range b.entries[:len(b.entries)-1] {
		if n := len(t.chains); n == 0 || t.chains[n-1].name != e.chain {
			t.chains = append(t.chains, chain{name: e.chain, builtIn: e.builtIn, drops: e.builtIn && b.drops(e.chain)})
		}
		if e.jump != 0 {
			c := &t.chains[len(t.chains)-1]
			c.jumps = append(c.jumps, jump{rule: uint64(e.at), to: starts[e.jump]})
		}
	}
	return t
}

// starts are the user's chains by the offset of what follows their heads.
func (b *blob) starts() map[int]string {
	starts := map[int]string{}
	for _, e := range b.entries {
		if e.head {
			starts[e.at+e.size] = e.chain
		}
	}
	return starts
}

// drops reports whether the policy of a built-in chain is to drop.
func (b *blob) drops(chain string) bool {
	for h, name := range hookNames {
		if name != chain || b.validHooks&(1<<h) == 0 {
			continue
		}
		policy := b.bytes[b.underflow[h]:]
		verdict := policy[int(binary.NativeEndian.Uint16(policy[b.target:]))+sizeofTarget:]
		return len(verdict) >= 4 && int32(binary.NativeEndian.Uint32(verdict)) == -1 // -NF_DROP - 1
	}
	return false
}

// without makes a blob of the entries that a plan leaves, and says which those are
// by their number in b.
func (b *blob) without(p *plan) (*blob, []int) {
	gone := map[string]bool{}
	for _, name := range p.chains {
		gone[name] = true
	}
	goneRules := map[int]bool{}
	for _, j := range p.jumps {
		goneRules[int(j.rule)] = true
	}
	out := &blob{layout: b.layout, name: b.name, validHooks: b.validHooks, entry: b.entry, underflow: b.underflow}
	moved := map[int]int{} // where an entry is now, or what followed it
	var left []int
	for i, e := range b.entries {
		moved[e.at] = len(out.bytes)
		if (e.builtIn || !gone[e.chain]) && !goneRules[e.at] {
			out.bytes = append(out.bytes, b.bytes[e.at:e.at+e.size]...)
			left = append(left, i)
		}
	}
	out.relocate(moved)
	for h := range hookNames {
		if b.validHooks&(1<<h) != 0 {
			out.entry[h] = uint32(moved[int(b.entry[h])])
			out.underflow[h] = uint32(moved[int(b.underflow[h])])
		}
	}
	return out, left
}

// relocate changes the offsets that standard targets go on at.
func (b *blob) relocate(moved map[int]int) {
	for at := 0; at < len(b.bytes); {
		e := b.bytes[at:]
		t := e[binary.NativeEndian.Uint16(e[b.target:]):]
		at += int(binary.NativeEndian.Uint16(e[b.next:]))
		if t[targetName] != 0 {
			continue
		}
		if verdict := int32(binary.NativeEndian.Uint32(t[sizeofTarget:])); verdict >= 0 {
			binary.NativeEndian.PutUint32(t[sizeofTarget:], uint32(moved[int(verdict)]))
		}
	}
}
