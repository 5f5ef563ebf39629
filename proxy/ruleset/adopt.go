package ruleset

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Adopt begins anew from the kernel's table, nil if there is none: its sets and
// chains with rules, without elements. The elements follow by Read. What
// services want must be set again to be compared: those of a plan that failed are
// not part of the next one.
func (t *Tracker) Adopt(table *nft.Table) {
	t.have, t.adopting = newDataplane(), true
	t.pending = map[model.ServiceName]Desired{}
	for _, a := range t.addressSets() {
		a.forget()
	}
	if table == nil {
		return
	}
	t.have.table = table
	for _, c := range table.Chains {
		t.have.shape.addNamed(c.Name)
	}
}

// IsFixed reports whether a set's elements belong to the fixed part of the table:
// the node's prefixes.
func IsFixed(set string) bool {
	switch strings.TrimRight(set, "46") {
	case "service-cidrs", "pod-cidrs":
		return true
	}
	return false
}

// holdsServices reports whether a set's elements stand for services. Bindings
// belong to the kernel.
func holdsServices(set *nft.Set) bool { return !IsFixed(set.Name) && !set.Dynamic }

// SetsToRead lists the sets of the adopted table whose elements are to be given
// to Read, in the order in which it wants them.
func (t *Tracker) SetsToRead() []*nft.Set {
	var list []*nft.Set
	if t.have.table == nil {
		return nil
	}
	for _, set := range t.have.table.Sets {
		if holdsServices(set) {
			list = append(list, set)
		}
	}
	slices.SortStableFunc(list, func(a, b *nft.Set) int { return servicesFirst(a) - servicesFirst(b) })
	return list
}

// servicesFirst: the comment of other elements is held against the one there.
func servicesFirst(s *nft.Set) int {
	if strings.HasPrefix(s.Name, "services") {
		return 0
	}
	return 1
}

// Read takes one element that the kernel has, from one of the sets of SetsToRead
// and in their order. What can't be understood will be deleted.
func (t *Tracker) Read(set string, e *nft.Element) {
	if !t.read(set, e) {
		t.have.strays = append(t.have.strays, stray{set, nft.Element{Key: e.Key, KeyEnd: e.KeyEnd}})
	}
}

func (t *Tracker) read(set string, e *nft.Element) bool {
	f := ipv4
	if strings.HasSuffix(set, "6") {
		f = ipv6
	}
	name := strings.TrimSuffix(set, f.suffix)
	for _, a := range t.addressSets() {
		if a.name == name {
			return a.readElement(f, e)
		}
	}
	k := f.keyOf(&e.Key, 0)
	if !k.Addr.IsValid() {
		return false
	}
	t.touched[k] = struct{}{}
	entry := t.have.entries[k]
	if entry == nil {
		entry = newEntry()
		t.have.entries[k] = entry
	}
	return entry.read(f, k, name, e)
}

// same reports whether an element is exactly one that kube-vmap writes: whoever
// else writes may leave bytes in the padding of a key, which then is another key.
func same(e *nft.Element, ours nft.Element) bool { return e.Key == ours.Key && e.SameContent(&ours) }

// read takes one element of the frontend.
func (e *entry) read(f *family, k model.FrontendKey, set string, el *nft.Element) bool {
	v := key(k)
	switch set {
	case "backends":
		return e.pool.readSlot(f, v, el)
	case "local-backends":
		return e.own().local.readSlot(f, v, el)
	case "allowed-sources":
		return e.readSource(f, v, el)
	}
	return el.Key == v && e.readPlain(f, set, el)
}

// readPlain takes an element whose key is the frontend and no more.
func (e *entry) readPlain(f *family, set string, el *nft.Element) bool {
	switch set {
	case "services":
		e.comment = el.Comment
		return e.pool.readVerdict(f, false, el.Verdict)
	case "local-services":
		return el.Comment == e.comment && e.own().local.readVerdict(f, true, el.Verdict)
	case "blocked":
		return el.Comment == e.comment && e.readBlocked(el.Verdict)
	case "learn":
		return el.Comment == e.comment && e.readLearn(el.Verdict)
	case "firewalled":
		e.firewall = el.Comment == ""
		return e.firewall
	}
	return false
}

func (p *pool) readVerdict(f *family, local bool, v nft.Verdict) bool {
	b, ok := parseBalancer(v.Chain)
	if !ok || v.Kind != nft.Goto || b.local != local || b.family() != f {
		return false
	}
	p.class, p.affinity, p.route = b.class, b.affinity, b.route
	return true
}

func (p *pool) readSlot(f *family, k nft.Value, el *nft.Element) bool {
	slot, b := f.slotOf(&el.Key), f.backendOf(&el.Data)
	if slot >= uint32(MaxClass) || !b.IsValid() || !same(el, slotElement(k, slot, b)) {
		return false
	}
	for int(slot) >= len(p.slots) {
		p.slots = append(p.slots, model.Backend{})
	}
	p.slots[slot] = b
	return true
}

func (e *entry) readBlocked(v nft.Verdict) bool {
	for _, b := range []Blocked{Reject, Drop} {
		e.blocked = b
		if v == e.blockedVerdict() {
			return true
		}
	}
	e.blocked = Unblocked
	return false
}

func (e *entry) readLearn(v nft.Verdict) bool {
	seconds, ok := parseLearn(v.Chain)
	if !ok || seconds == 0 || v.Kind != nft.Goto {
		return false
	}
	e.learn = seconds
	return true
}

func (e *entry) readSource(f *family, k nft.Value, el *nft.Element) bool {
	off := f.addrSize() + 8
	end := el.KeyEnd
	if end.IsZero() {
		end = el.Key
	}
	p, ok := prefixBetween(el.Key.AddrAt(off, f == ipv4), end.AddrAt(off, f == ipv4))
	if !ok || !same(el, sourceElement(k, p)) {
		return false
	}
	x := e.own()
	at, _ := slices.BinarySearchFunc(x.sources, p, comparePrefixes)
	x.sources = slices.Insert(x.sources, at, p)
	return true
}

// prefixBetween is the prefix with this first and last address, if there is one.
func prefixBetween(first, last netip.Addr) (netip.Prefix, bool) {
	if !first.IsValid() {
		return netip.Prefix{}, false
	}
	for bits := first.BitLen(); bits >= 0; bits-- {
		if p := netip.PrefixFrom(first, bits); p.Masked().Addr() == first && lastAddr(p) == last {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
