package ruleset

import (
	"math/bits"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Class is the number of slots that a frontend's chain draws from: a power of
// two from 1 to MaxClass. 0 is a frontend without a chain.
type Class uint32

// MaxClass bounds the backends of one frontend.
const MaxClass Class = 65536

// classFor is the smallest class that holds n backends.
func classFor(n int) Class {
	if n <= 1 {
		return 1
	}
	return min(Class(1)<<bits.Len(uint(n-1)), MaxClass)
}

// resize is the class of a frontend that had class c and has n backends now. It
// grows when a backend does not fit and shrinks when fewer than half of the
// slots would be filled, so that a frontend does not flap between two classes.
func (c Class) resize(n int) Class {
	if c == 0 || n > int(c) {
		return classFor(n)
	}
	for c > 1 && n < int(c)/2 {
		c /= 2
	}
	return c
}

// Draws is how often a chain of the class draws a random slot before it takes
// slot 0. At least half of the slots are filled, so d draws all miss with a
// probability of at most 2^-d, and then slot 0 gets a connection beyond its fair
// share of 1/n. With n >= class/2, d = log2(class)+4 keeps that extra below
// class/2 * 2^-d = 1/32 of its fair share. Rules behind the one that hits cost
// nothing, and two draws are enough on average.
func (c Class) Draws() int {
	if c == 1 {
		return 1
	}
	return max(8, bits.Len(uint(c))-1+4)
}

// Slots are the backends of a frontend by slot number. A zero Backend is a hole.
//
// Invariants while there is any backend:
//  1. slot 0 is filled: it is the last resort of the chain;
//  2. at least half of the class's slots are filled (if the class is over 1);
//  3. each backend sits in one slot (in two while it moves);
//  4. a backend stays in its slot while it is wanted, unless slot 0 or a smaller
//     class needs it.
type Slots []model.Backend

// SlotElement is one element of a backends map.
type SlotElement struct {
	Slot    uint32
	Backend model.Backend
}

// Assignment is how a frontend's slots change.
type Assignment struct {
	Class Class
	Slots Slots // as they are when all is done

	// One transaction: new content for filled slots (slot 0 only), then new
	// slots, then emptied ones.
	Replace []SlotElement
	Add     []SlotElement
	Delete  []uint32

	// A second transaction: backends for slots that the first one emptied. To
	// delete and add one key in one transaction leaves a moment in which a lookup
	// finds neither, so it is not done where a second transaction can do it.
	Later []SlotElement
}

// Changes reports whether any element changes.
func (a *Assignment) Changes() bool { return len(a.Replace)+len(a.Add)+len(a.Delete)+len(a.Later) > 0 }

// Assign places the wanted backends (sorted, each once) into slots, starting
// from the slots that the kernel has, with as few element operations as the
// invariants allow: one per backend that comes or goes, and two more when slot
// 0's backend goes without another one coming.
func Assign(have Slots, class Class, want []model.Backend) Assignment {
	if len(want) > int(MaxClass) {
		want = want[:MaxClass]
	}
	a := &assigner{have: have, placed: make([]bool, len(want))}
	a.Class = class.resize(len(want))
	a.Slots = make(Slots, max(len(want), min(len(have), int(a.Class))))
	a.keep(want)
	a.fillSlotZero(want)
	a.place(want)
	a.deleteRest()
	for n := len(a.Slots); n > 0 && !a.Slots[n-1].IsValid(); n-- {
		a.Slots = a.Slots[:n-1]
	}
	return a.Assignment
}

type assigner struct {
	Assignment
	have     Slots
	placed   []bool // by index of want
	replaced bool   // slot 0's element gets a new content
}

// keep leaves wanted backends where they are, if the slot exists in the class.
func (a *assigner) keep(want []model.Backend) {
	for i, b := range a.have {
		if i >= int(a.Class) || !b.IsValid() {
			continue
		}
		if j, ok := slices.BinarySearchFunc(want, b, model.Backend.Compare); ok && !a.placed[j] {
			a.placed[j] = true
			a.set(uint32(i), b)
		}
	}
}

func (a *assigner) set(slot uint32, b model.Backend) {
	for int(slot) >= len(a.Slots) {
		a.Slots = append(a.Slots, model.Backend{})
	}
	a.Slots[slot] = b
}

// filled reports whether the kernel has an element in the slot.
func (a *assigner) filled(slot int) bool { return slot < len(a.have) && a.have[slot].IsValid() }

// fillSlotZero puts a backend that has no slot yet, else the one of the highest
// slot, into slot 0.
func (a *assigner) fillSlotZero(want []model.Backend) {
	if len(want) == 0 || a.Slots[0].IsValid() {
		return
	}
	var b model.Backend
	if j := slices.Index(a.placed, false); j >= 0 {
		a.placed[j] = true
		b = want[j]
	} else {
		highest := len(a.Slots) - 1
		for !a.Slots[highest].IsValid() {
			highest--
		}
		b, a.Slots[highest] = a.Slots[highest], model.Backend{}
	}
	a.set(0, b)
	if a.filled(0) {
		a.replaced = true
		a.Replace = append(a.Replace, SlotElement{0, b})
		return
	}
	a.Add = append(a.Add, SlotElement{0, b})
}

// place puts the backends without a slot into holes, and only when there are no
// holes left into slots that are emptied now.
func (a *assigner) place(want []model.Backend) {
	next := 0
	hole := func(usable func(int) bool) (int, bool) {
		for ; next < int(a.Class); next++ {
			if (next >= len(a.Slots) || !a.Slots[next].IsValid()) && usable(next) {
				return next, true
			}
		}
		return 0, false
	}
	later := false
	for j, b := range want {
		if a.placed[j] {
			continue
		}
		if !later {
			if slot, ok := hole(func(i int) bool { return !a.filled(i) }); ok {
				a.set(uint32(slot), b)
				a.Add = append(a.Add, SlotElement{uint32(slot), b})
				continue
			}
			later, next = true, 0
		}
		slot, _ := hole(a.filled) // there is one: the class holds all backends
		a.set(uint32(slot), b)
		a.Later = append(a.Later, SlotElement{uint32(slot), b})
	}
}

// deleteRest empties the slots whose backend is elsewhere or gone.
func (a *assigner) deleteRest() {
	for i, b := range a.have {
		if !b.IsValid() || i == 0 && a.replaced {
			continue
		}
		if i >= len(a.Slots) || a.Slots[i] != b {
			a.Delete = append(a.Delete, uint32(i))
		}
	}
}
