package rulesettest

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Place is a frontend's key, and a slot of it.
type Place struct {
	model.FrontendKey
	Slot uint32
}

// HoldsSlots reports whether a set's keys are frontends with a slot.
func HoldsSlots(set string) bool {
	return strings.HasPrefix(set, "backends") || strings.HasPrefix(set, "local-backends")
}

// holdsClasses reports whether a set's verdicts name the chain of a class.
func holdsClasses(set string) bool {
	return strings.HasPrefix(set, "services") || strings.HasPrefix(set, "local-services")
}

// FrontendOf reads the key of a set whose keys begin with a frontend.
func FrontendOf(s *nft.Set, v *nft.Value) Place {
	is4, addr := s.Key[0] == nft.IPv4Addr, s.Key[0].Size()
	return Place{
		FrontendKey: model.FrontendKey{
			Addr: v.AddrAt(0, is4), Protocol: model.Protocol(v.ProtocolAt(addr)), Port: v.PortAt(addr + 4),
		},
		Slot: v.MarkAt(addr + 8),
	}
}

func backendOf(s *nft.Set, v *nft.Value) model.Backend {
	is4, addr := s.Data[0] == nft.IPv4Addr, s.Data[0].Size()
	return netip.AddrPortFrom(v.AddrAt(0, is4), v.PortAt(addr))
}

// CutClass splits "lb4-8" into "lb4" and 8; ok is false if no number ends the name.
func CutClass(chain string) (kind string, class uint32, ok bool) {
	at := strings.LastIndexByte(chain, '-')
	if at < 0 {
		return chain, 0, false
	}
	n, err := strconv.ParseUint(chain[at+1:], 10, 32)
	return chain[:at], uint32(n), err == nil
}

// OnDemand reports whether a chain is made when it is needed and then stays.
func OnDemand(chain string) bool {
	_, _, numbered := CutClass(chain)
	return numbered || strings.HasPrefix(chain, "learn-") || strings.HasPrefix(chain, "firewall")
}

// Pool is a frontend's class and slots in one of the two pairs of maps.
type Pool struct {
	Class uint32
	Slots map[uint32]model.Backend
}

// PoolName is the map of the slots and the frontend.
type PoolName struct {
	Set string
	model.FrontendKey
}

func (n PoolName) String() string { return n.Set + " " + n.FrontendKey.String() }

// Pools collects the classes and slots of all frontends.
func Pools(elements iter.Seq2[*nft.Set, *nft.Element]) map[PoolName]*Pool {
	all := map[PoolName]*Pool{}
	of := func(set string, k model.FrontendKey) *Pool {
		name := PoolName{set, k}
		if all[name] == nil {
			all[name] = &Pool{Slots: map[uint32]model.Backend{}}
		}
		return all[name]
	}
	for s, e := range elements {
		switch {
		case holdsClasses(s.Name):
			slots := strings.Replace(s.Name, "services", "backends", 1)
			p := of(slots, FrontendOf(s, &e.Key).FrontendKey)
			_, p.Class, _ = CutClass(e.Verdict.Chain)
		case HoldsSlots(s.Name):
			at := FrontendOf(s, &e.Key)
			of(s.Name, at.FrontendKey).Slots[at.Slot] = backendOf(s, &e.Data)
		}
	}
	return all
}

// Elements are all of a table's, with the sets that they are in.
func Elements(t *nft.Table) iter.Seq2[*nft.Set, *nft.Element] {
	return func(yield func(*nft.Set, *nft.Element) bool) {
		for _, s := range t.Sets {
			for i := range s.Elements {
				if !yield(s, &s.Elements[i]) {
					return
				}
			}
		}
	}
}

// invariants checks what ruleset.Slots promises.
func invariants(t *nft.Table) []string {
	var lines []string
	for name, p := range Pools(Elements(t)) {
		if fault := p.Fault(); fault != "" {
			lines = append(lines, fmt.Sprintf("! %s: %s: class %d, slots %v", name, fault, p.Class, p.Slots))
		}
	}
	slices.Sort(lines)
	return lines
}

// Fault says what is wrong with the slots, or nothing.
func (p *Pool) Fault() string {
	seen := map[model.Backend]bool{}
	for slot, b := range p.Slots {
		if slot >= p.Class {
			return "a slot beyond the class"
		}
		if seen[b] {
			return "a backend in two slots"
		}
		seen[b] = true
	}
	switch {
	case len(p.Slots) == 0:
		return ""
	case !p.Slots[0].IsValid():
		return "slot 0 is empty"
	case p.Class > 1 && 2*len(p.Slots) < int(p.Class):
		return "less than half of the slots are filled"
	}
	return ""
}

// Emptied lists the frontends that have backends but none in slot 0, of those
// that a packet can find: it must not happen even between two transactions.
func Emptied(elements iter.Seq2[*nft.Set, *nft.Element]) []string {
	var lines []string
	for name, p := range Pools(elements) {
		if p.Class > 0 && len(p.Slots) > 0 && !p.Slots[0].IsValid() {
			lines = append(lines, fmt.Sprintf("! %s: slot 0 is empty between transactions: %v", name, p.Slots))
		}
	}
	slices.Sort(lines)
	return lines
}
