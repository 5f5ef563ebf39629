package ruleset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
)

// balancer names a chain that picks a backend: lb4-8, affinity4-8, local-lb4-8, or,
// for external frontends, external-lb4-8 and external-local-affinity4-8.
type balancer struct {
	class    Class
	ipv6     bool
	local    bool  // draws from local-backends instead of backends
	affinity bool  // looks for the client's binding first
	route    route // what comes before that, for an external frontend
}

func (b balancer) String() string {
	name := "lb"
	if b.affinity {
		name = "affinity"
	}
	if b.local {
		name = "local-" + name
	}
	return fmt.Sprintf("%s%s%s-%d", b.route, name, b.family().suffix, b.class)
}

func (b balancer) family() *family {
	if b.ipv6 {
		return ipv6
	}
	return ipv4
}

// parseBalancer reads a chain's name back.
func parseBalancer(name string) (b balancer, ok bool) {
	rest := name
	for _, r := range []route{viaLocal, viaCluster} { // the longer prefix first
		if tail, found := strings.CutPrefix(rest, r.String()); found && b.route == internal {
			b.route, rest = r, tail
		}
	}
	plain := strings.TrimPrefix(rest, "local-")
	head, class, found := strings.Cut(plain, "-")
	n, err := strconv.ParseUint(class, 10, 32)
	if !found || err != nil || n == 0 || n > uint64(MaxClass) || n&(n-1) != 0 {
		return b, false
	}
	b.class = Class(n)
	b.ipv6 = strings.HasSuffix(head, "6")
	b.local = plain != rest
	b.affinity = strings.HasPrefix(head, "affinity")
	return b, b.String() == name
}

// shape is which of the chains that are made on demand exist. Chains are added
// to it and not removed while the proxy runs: an unused chain costs nothing.
type shape struct {
	balancers map[balancer]struct{}
	learn     map[uint32]struct{} // timeouts in seconds
	firewall  bool                // some frontend has source ranges
}

func newShape() *shape {
	return &shape{balancers: map[balancer]struct{}{}, learn: map[uint32]struct{}{}}
}

func (s *shape) clone() *shape {
	return &shape{balancers: maps.Clone(s.balancers), learn: maps.Clone(s.learn), firewall: s.firewall}
}

func (s *shape) hasBalancer(b balancer) bool { _, ok := s.balancers[b]; return ok }

func (s *shape) hasLearn(seconds uint32) bool { _, ok := s.learn[seconds]; return ok }

// addBalancer adds the chain and those it continues in.
func (s *shape) addBalancer(b balancer) {
	for more := true; more; b, more = b.next() {
		s.balancers[b] = struct{}{}
	}
}

// addLearn adds the chain that learns bindings with this timeout.
func (s *shape) addLearn(seconds uint32) { s.learn[seconds] = struct{}{} }

// addNamed adds the on-demand chain of that name, as read from the kernel.
func (s *shape) addNamed(name string) {
	if b, ok := parseBalancer(name); ok {
		s.addBalancer(b)
	} else if seconds, ok := parseLearn(name); ok {
		s.addLearn(seconds)
	} else if name == chainFirewall {
		s.firewall = true
	}
}

func learnChain(seconds uint32) string { return fmt.Sprintf("learn-%d", seconds) }

func parseLearn(name string) (uint32, bool) {
	text, found := strings.CutPrefix(name, "learn-")
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), found && err == nil && learnChain(uint32(n)) == name
}

// chains builds the on-demand chains, in a stable order.
func (s *shape) chains(opts *Options) []*nft.Chain {
	var chains []*nft.Chain
	balancers := slices.SortedFunc(maps.Keys(s.balancers), func(a, b balancer) int {
		return cmp.Or(strings.Compare(a.kind(), b.kind()), cmp.Compare(a.class, b.class))
	})
	for _, b := range balancers {
		// A table adopted from a time with more families has chains of sets that go.
		if slices.Contains(opts.families(), b.family()) {
			chains = append(chains, b.chain())
		}
	}
	for _, seconds := range slices.Sorted(maps.Keys(s.learn)) {
		chains = append(chains, learn(seconds, opts))
	}
	return chains
}

func (b balancer) kind() string { b.class = 0; return b.String() }

// next is the chain that this one continues in: the route, then the binding, then
// the draws.
func (b balancer) next() (balancer, bool) {
	switch {
	case b.route != internal:
		b.route = internal
	case b.affinity:
		b.affinity = false
	default:
		return b, false
	}
	return b, true
}

// chain builds the rules: what its name begins with, and then the next chain.
func (b balancer) chain() *nft.Chain {
	c := &nft.Chain{Name: b.String()}
	f := b.family()
	switch {
	case b.route == viaCluster:
		c.Rules = []nft.Rule{nft.NewRule(nft.JumpChain(chainMark))}
	case b.route == viaLocal:
		c.Rules = []nft.Rule{nft.NewRule(nft.JumpChain(chainExternalLocal + f.suffix))}
	case b.affinity:
		binding := append([]nft.Field{f.saddr}, f.frontend()...)
		c.Rules = []nft.Rule{nft.NewRule(f.dnat("affinity"+f.suffix, binding...))}
	default:
		c.Rules = b.draws()
	}
	if next, more := b.next(); more {
		c.Rules = append(c.Rules, nft.NewRule(nft.GotoChain(next.String())))
	}
	return c
}

// draws are the rules that draw a random slot, and slot 0 as the last resort.
func (b balancer) draws() []nft.Rule {
	f := b.family()
	backends := "backends" + f.suffix
	if b.local {
		backends = "local-" + backends
	}
	draw := func(mod Class) nft.Rule {
		return nft.NewRule(f.dnat(backends, append(f.frontend(), nft.NumgenRandom(uint32(mod)))...))
	}
	var rules []nft.Rule
	for range b.class.Draws() {
		rules = append(rules, draw(b.class))
	}
	return append(rules, draw(1))
}

// learn binds a client to the backend that its first packet went to. nft knows
// the type of `ct original proto-dst` only behind a match of the protocol,
// hence a rule per protocol.
func learn(seconds uint32, opts *Options) *nft.Chain {
	c := &nft.Chain{Name: learnChain(seconds)}
	for _, f := range opts.families() {
		for _, proto := range protocols {
			key := append([]nft.Field{f.saddr}, f.originalFrontend()...)
			data := []nft.Field{f.daddr, nft.ThDport}
			// Accepted here, it meets no rule of the other protocols.
			rule := nft.NewRule(nft.MatchL4Proto(proto),
				nft.Update("affinity"+f.suffix, key, time.Duration(seconds)*time.Second, data),
				nft.Verdict{Kind: nft.Accept})
			if f == ipv6 {
				rule.Unloadable = "nft runs out of registers when it loads this rule, which the kernel takes"
			}
			c.Rules = append(c.Rules, rule)
		}
	}
	return c
}

var protocols = []nft.Protocol{nft.TCP, nft.UDP, nft.SCTP}
