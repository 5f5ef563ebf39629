package simulation

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// FuzzAssign places wanted backends over whatever the kernel may hold: holes,
// backends twice, slots beyond the class, no class. Each byte of have and want
// names a backend, 0 a hole.
func FuzzAssign(f *testing.F) {
	f.Add([]byte{}, []byte{}, byte(0))
	f.Add([]byte{1, 2, 3}, []byte{1, 2, 3}, byte(3))                // nothing to do
	f.Add([]byte{1, 2, 3, 4}, []byte{2, 3, 4}, byte(3))             // slot 0 goes
	f.Add([]byte{1, 2, 3, 4}, []byte{1, 3, 4, 5}, byte(3))          // a full class
	f.Add([]byte{1, 1, 0, 2}, []byte{2, 1}, byte(3))                // twice
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 9}, []byte{1, 9}, byte(2))    // beyond the class
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{7}, byte(4))       // shrinks
	f.Add([]byte{5}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, byte(1))    // grows
	f.Add([]byte{9, 8, 7}, []byte{1, 2, 3}, byte(0))                // no verdict
	f.Add([]byte{0, 0, 0, 4}, []byte{}, byte(17))                   // nothing wanted
	f.Add([]byte{0, 0, 0, 4}, []byte{3, 4}, byte(17))               // a class much too big
	f.Add([]byte{3, 0, 3, 0, 3}, []byte{1, 2, 3, 4, 5, 6}, byte(3)) // thrice, and grows
	f.Fuzz(func(t *testing.T, have, want []byte, exponent byte) {
		var slots ruleset.Slots
		for _, b := range have {
			slots = append(slots, numbered(b))
		}
		var class ruleset.Class
		if n := exponent % 18; n > 0 {
			class = 1 << (n - 1)
		}
		wanted := sortedSet(want)
		before := slices.Clone(slots)
		a := ruleset.Assign(slots, class, wanted)
		if !slices.Equal(before, slots) {
			t.Fatal("Assign changes what it is given")
		}
		checkAssignment(t, slots, &a, wanted)
		again := ruleset.Assign(a.Slots, a.Class, wanted)
		if again.Changes() || again.Class != a.Class {
			t.Fatalf("a second time: %+v after %+v", again, a)
		}
	})
}

// numbered is a backend by number; 0 is a hole.
func numbered(n byte) model.Backend {
	if n == 0 {
		return model.Backend{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, n}), 8080)
}

func sortedSet(want []byte) []model.Backend {
	var list []model.Backend
	for _, b := range want {
		if b != 0 {
			list = append(list, numbered(b))
		}
	}
	slices.SortFunc(list, model.Backend.Compare)
	return slices.Compact(list)
}

// checkAssignment plays the kernel that executes an assignment.
func checkAssignment(t *testing.T, have ruleset.Slots, a *ruleset.Assignment, want []model.Backend) {
	t.Helper()
	kernel := map[uint32]model.Backend{}
	for slot, b := range have {
		if b.IsValid() {
			kernel[uint32(slot)] = b
		}
	}
	for _, e := range a.Replace {
		if _, filled := kernel[e.Slot]; !filled || e.Slot != 0 {
			t.Fatalf("replaces slot %d: %+v", e.Slot, a)
		}
		kernel[e.Slot] = e.Backend
	}
	fill(t, kernel, a.Add)
	for _, slot := range a.Delete {
		if _, filled := kernel[slot]; !filled {
			t.Fatalf("empties empty slot %d: %+v", slot, a)
		}
		delete(kernel, slot)
	}
	if len(want) > 0 && !kernel[0].IsValid() {
		t.Fatalf("slot 0 is empty between two transactions: %+v", a)
	}
	fill(t, kernel, a.Later)
	checkSlots(t, kernel, a, want)
	for slot, b := range have {
		stays := slot < int(a.Class) && slices.Contains(want, b) && slices.Index(have, b) == slot
		if moved := kernel[uint32(slot)] != b; stays && moved && kernel[0] != b {
			t.Fatalf("%s left slot %d for another one: %+v", b, slot, a)
		}
	}
}

func fill(t *testing.T, kernel map[uint32]model.Backend, elements []ruleset.SlotElement) {
	t.Helper()
	for _, e := range elements {
		if _, filled := kernel[e.Slot]; filled {
			t.Fatalf("fills filled slot %d", e.Slot)
		}
		kernel[e.Slot] = e.Backend
	}
}

func checkSlots(t *testing.T, kernel map[uint32]model.Backend, a *ruleset.Assignment, want []model.Backend) {
	t.Helper()
	p := rulesettest.Pool{Class: uint32(a.Class), Slots: kernel}
	if fault := p.Fault(); fault != "" {
		t.Fatalf("%s: %+v", fault, a)
	}
	var got []model.Backend
	for slot, b := range kernel {
		got = append(got, b)
		if int(slot) >= len(a.Slots) || a.Slots[slot] != b {
			t.Fatalf("slot %d is %s in the kernel: %+v", slot, b, a)
		}
	}
	slices.SortFunc(got, model.Backend.Compare)
	if !slices.Equal(got, want) {
		t.Fatalf("has %v, want %v: %+v", got, want, a)
	}
}
