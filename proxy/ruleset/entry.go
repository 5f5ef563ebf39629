package ruleset

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// entry is what the kernel holds for one frontend: the elements with its key, in
// compact form. A new entry is a frontend that is not there.
type entry struct {
	comment string // of the verdict elements: the service port and, if it is external, the kind
	pool    pool   // services, backends
	*extras

	blocked  Blocked
	firewall bool   // in firewalled
	learn    uint32 // seconds; 0: no element in learn
}

// extras are what few frontends have: all others share noExtras, since there is an
// entry for each frontend of the cluster.
type extras struct {
	local     pool            // local-services, local-backends
	sources   []netip.Prefix  // allowed-sources
	lingering []model.Backend // of a UDP frontend: see FlowRule; not in the kernel
}

var noExtras = &extras{} // nobody writes to it: see newEntry and own

func newEntry() *entry { return &entry{extras: noExtras} }

// own gives the entry extras that may be changed.
func (e *entry) own() *extras {
	if e.extras == noExtras {
		e.extras = &extras{}
	}
	return e.extras
}

// setExtras takes them over, or shares those of all who have none.
func (e *entry) setExtras(x extras) {
	e.extras = noExtras
	if !x.isZero() {
		*e.own() = x
	}
}

func (x *extras) isZero() bool { return x.local.isZero() && len(x.sources)+len(x.lingering) == 0 }

// pool is a balancer with its slots. Class 0: there is no verdict element.
type pool struct {
	class    Class
	affinity bool
	route    route
	slots    Slots
}

func (p *pool) isZero() bool { return p.class == 0 && len(p.slots) == 0 }

// route is where an external frontend's connections go first.
type route uint8

const (
	internal   route = iota
	viaCluster       // all external connections are masqueraded
	viaLocal         // those from outside the cluster get the backends of this node only
)

// String is what the names of the route's chains begin with.
func (r route) String() string { return [...]string{"", "external-", "external-local-"}[r] }

// wantEntry is a frontend as an entry, with the slots that were assigned to it. nil
// is an entry that is not there.
func wantEntry(f *Frontend, assigned, local *Assignment) *entry {
	e := newEntry()
	e.pool.class, e.pool.slots = assigned.Class, assigned.Slots
	x := extras{local: pool{class: local.Class, slots: local.Slots}}
	if f != nil {
		e.comment = comment(f.Name, f.Kind)
		e.pool.affinity = f.Affinity > 0
		e.blocked, e.firewall, e.learn = f.Blocked, f.Sources != nil, uint32(f.Affinity.Seconds())
		x.sources, x.lingering = f.Sources, lingering(f)
		if f.Kind.IsExternal() {
			e.pool.route = viaCluster
			if f.Policy == model.PolicyLocal {
				e.pool.route, x.local.affinity = viaLocal, e.pool.affinity
			}
		}
	}
	e.setExtras(x)
	return e
}

// comment names the service port on its elements, and the kind of an external
// frontend: "shop/web:http", "shop/web:http NodePort". It fits into nft's limit: a
// longer name is cut and ends in a hash of the whole. Names from the API hold
// no quotes or control characters; whatever else comes here is made harmless.
func comment(name model.ServicePortName, kind model.FrontendKind) string {
	suffix := ""
	if kind.IsExternal() {
		suffix = " " + kind.String()
	}
	return shorten(printable(name.String()), nft.MaxComment-len(suffix)) + suffix
}

// printable replaces what must not stand between quotes.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r == utf8.RuneError || r > '~' {
			return '_'
		}
		return r
	}, s)
}

// shorten cuts a text that is longer than most, which then ends in its hash.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	h := fnv.New32a()
	h.Write([]byte(s))
	hash := fmt.Sprintf("~%08x", h.Sum32())
	return s[:most-len(hash)] + hash
}

// verdictElement is an element of one of the verdict maps, absent if its
// verdict is none.
type verdictElement struct {
	set     *nft.Set
	verdict nft.Verdict
	comment string
}

// verdicts are the entry's elements in the verdict maps of its family, always
// the same maps in the same order.
func (e *entry) verdicts(f *family, s *sets) [4]verdictElement {
	return [4]verdictElement{
		{s.services, e.pool.verdict(f, false), e.comment},
		{s.localServices, e.local.verdict(f, true), e.comment},
		{s.blocked, e.blockedVerdict(), e.comment},
		{s.learn, e.learnVerdict(), e.comment},
	}
}

func (p *pool) verdict(f *family, local bool) nft.Verdict {
	if p.class == 0 {
		return nft.Verdict{}
	}
	return nft.GotoChain(p.balancer(f, local).String())
}

func (p *pool) balancer(f *family, local bool) balancer {
	return balancer{class: p.class, ipv6: f == ipv6, local: local, affinity: p.affinity, route: p.route}
}

func (e *entry) blockedVerdict() nft.Verdict {
	switch e.blocked {
	case Reject:
		return nft.GotoChain(chainRejectNew)
	case Drop:
		return nft.Verdict{Kind: nft.Drop}
	}
	return nft.Verdict{}
}

func (e *entry) learnVerdict() nft.Verdict {
	if e.learn == 0 {
		return nft.Verdict{}
	}
	return nft.GotoChain(learnChain(e.learn))
}

// slotElement is an element of a backends map.
func slotElement(k nft.Value, slot uint32, b model.Backend) nft.Element {
	return nft.Element{Key: k.Mark(slot), Data: nft.Value{}.Addr(b.Addr()).Port(b.Port())}
}

// sourceElement is an element of allowed-sources.
func sourceElement(k nft.Value, p netip.Prefix) nft.Element {
	return nft.Element{Key: k.Addr(p.Masked().Addr()), KeyEnd: k.Addr(lastAddr(p))}
}

// elements appends all of the entry's elements to their sets.
func (e *entry) elements(k model.FrontendKey, s *sets) {
	f, v := familyOf(k.Addr), key(k)
	add := func(set *nft.Set, el nft.Element) { set.Elements = append(set.Elements, el) }
	for _, ve := range e.verdicts(f, s) {
		if ve.verdict != (nft.Verdict{}) {
			add(ve.set, nft.Element{Key: v, Verdict: ve.verdict, Comment: ve.comment})
		}
	}
	for slot, b := range e.pool.slots {
		if b.IsValid() {
			add(s.backends, slotElement(v, uint32(slot), b))
		}
	}
	for slot, b := range e.local.slots {
		if b.IsValid() {
			add(s.localBackends, slotElement(v, uint32(slot), b))
		}
	}
	if e.firewall {
		add(s.firewalled, nft.Element{Key: v})
	}
	for _, p := range e.sources {
		add(s.allowedSources, sourceElement(v, p))
	}
}

func (e *entry) isZero() bool {
	return e.pool.isZero() && e.local.isZero() && e.blocked == Unblocked && e.learn == 0 && !e.firewall && len(e.sources) == 0
}
