package ruleset

import (
	"net/netip"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
)

// Priorities of the base chains. NAT chains run in the order of their
// priorities and the first that translates wins: -105 is before kube-proxy's
// (-100, in nftables and iptables alike), so that a node can be taken over while
// it still runs.
const (
	firewallPriority    = -110
	dnatPriority        = -105
	filterPriority      = 0
	learnPriority       = 90
	masqueradePriority  = 100
	chainServices       = "services"
	chainFirewall       = "firewall"
	chainUnserved       = "unserved"
	chainLearn          = "learn-affinity"
	chainRejectNew      = "reject-new"
	chainMark           = "mark-for-masquerade"
	chainExternalLocal  = "external-local"
	chainNATPrerouting  = "nat-prerouting"
	chainNATOutput      = "nat-output"
	chainNATPostrouting = "nat-postrouting"
)

// skeleton builds the table without the elements of services: sets and maps,
// chains and rules, and the node's few prefixes. It depends on the options and on
// which on-demand chains exist, and on nothing else. The sets of each family are
// the table's.
func skeleton(opts *Options, s *shape) (*nft.Table, map[*family]*sets) {
	t := &nft.Table{Name: opts.Table, Owned: opts.Owned, Persist: opts.Owned && opts.Persist}
	b := &builder{opts: opts, table: t, familySets: map[*family]*sets{}}
	for _, f := range opts.families() {
		b.sets(f)
	}
	b.baseChains(s)
	b.services()
	b.externalLocal()
	if s.firewall {
		b.firewall()
	}
	b.unserved()
	if len(s.learn) > 0 {
		b.learnAffinity()
	}
	t.Chains = append(t.Chains, s.chains(opts)...)
	return t, b.familySets
}

type builder struct {
	opts       *Options
	table      *nft.Table
	familySets map[*family]*sets
}

func (b *builder) chain(name string, rules ...nft.Rule) {
	b.table.Chains = append(b.table.Chains, &nft.Chain{Name: name, Rules: rules})
}

func (b *builder) base(name string, typ nft.ChainType, hook nft.Hook, priority int32, rules ...nft.Rule) {
	b.table.Chains = append(b.table.Chains, &nft.Chain{
		Name: name, Rules: rules, Base: &nft.Base{Type: typ, Hook: hook, Priority: priority},
	})
}

func (b *builder) sets(f *family) {
	s := newSets(f, b.opts)
	s.serviceCIDRs.Elements = prefixElements(f, b.opts.ServiceCIDRs)
	s.podCIDRs.Elements = prefixElements(f, b.opts.PodCIDRs)
	b.familySets[f] = s
	b.table.Sets = append(b.table.Sets, s.all()...)
}

// prefixElements are the intervals of a family's prefixes.
func prefixElements(f *family, prefixes []netip.Prefix) []nft.Element {
	var es []nft.Element
	for _, p := range prefixesOf(f, prefixes) {
		es = append(es, nft.Element{Key: nft.Value{}.Addr(p.Addr()), KeyEnd: nft.Value{}.Addr(lastAddr(p))})
	}
	return es
}

// prefixesOf are a family's prefixes, without those that lie in others.
func prefixesOf(f *family, prefixes []netip.Prefix) []netip.Prefix {
	var mine []netip.Prefix
	for _, p := range prefixes {
		if familyOf(p.Addr()) == f {
			mine = append(mine, p.Masked())
		}
	}
	return disjoint(mine)
}

// lonePrefix is a family's only prefix, if there is one that does not hold all addresses.
func lonePrefix(f *family, prefixes []netip.Prefix) (p netip.Prefix, alone bool) {
	mine := prefixesOf(f, prefixes)
	if len(mine) != 1 || mine[0].Bits() == 0 {
		return p, false
	}
	return mine[0], true
}

// lastAddr is the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// baseChains hook the table into the packet path. Only the first packet of a
// connection meets NAT chains; the others see all packets and let those of known
// connections go at once. Those that few clusters need are made on demand: each
// costs every packet some nanoseconds.
func (b *builder) baseChains(s *shape) {
	if s.firewall {
		firewall := nft.NewRule(nft.CtStateNew(), nft.JumpChain(chainFirewall))
		b.base("firewall-prerouting", nft.FilterChain, nft.Prerouting, firewallPriority, firewall)
		b.base("firewall-output", nft.FilterChain, nft.Output, firewallPriority, firewall)
	}
	b.base(chainNATPrerouting, nft.NATChain, nft.Prerouting, dnatPriority, nft.NewRule(nft.JumpChain(chainServices)))
	b.base(chainNATOutput, nft.NATChain, nft.Output, dnatPriority, nft.NewRule(nft.JumpChain(chainServices)))
	// Translated connections, of which there are most, need not be looked for in the maps.
	unserved := nft.NewRule(nft.CtStateNew(), nft.CtStatusNotDNAT(), nft.JumpChain(chainUnserved))
	b.base("filter-input", nft.FilterChain, nft.Input, filterPriority, unserved)
	b.base("filter-forward", nft.FilterChain, nft.Forward, filterPriority, unserved)
	b.base("filter-output", nft.FilterChain, nft.Output, filterPriority, unserved)
	if len(s.learn) > 0 {
		// NAT chains, so that they meet first packets only: a client repeats one that
		// nobody answers, and would be bound once more to a backend that has left. Before
		// whoever translates the source, who ends the way through the NAT chains; packets to
		// this node do not come by postrouting.
		var learn []nft.Rule
		for _, f := range b.opts.families() {
			learn = append(learn, nft.NewRule(
				nft.CtStatusDNAT(), nft.In("affinity-ips"+f.suffix, f.ctDaddr), nft.JumpChain(chainLearn)))
		}
		b.base("learn-input", nft.NATChain, nft.Input, learnPriority, learn...)
		b.base("learn-postrouting", nft.NATChain, nft.Postrouting, learnPriority, learn...)
	}
	b.base(chainNATPostrouting, nft.NATChain, nft.Postrouting, masqueradePriority, b.masquerading()...)
}

// services finds a packet's frontend. The lookup stands twice: while the kernel
// replaces a verdict element, a lookup may for some tens of nanoseconds find
// neither the old nor the new one.
func (b *builder) services() {
	var rules []nft.Rule
	for _, f := range b.opts.families() {
		if r, ok := b.masqueradeClusterIPs(f); ok {
			rules = append(rules, r)
		}
		lookup := nft.NewRule(nft.Vmap("services"+f.suffix, f.frontend()...))
		rules = append(rules, lookup, lookup)
	}
	b.chain(chainServices, rules...)
	b.chain(chainMark, nft.NewRule(nft.SetMark(b.opts.MasqueradeMark)))
}

// masqueradeClusterIPs marks connections to cluster IPs that do not come from
// this node's pods, if pods can be told. That comes first: it is the cheaper
// question, and most connections on a node are its pods'.
func (b *builder) masqueradeClusterIPs(f *family) (nft.Rule, bool) {
	toClusterIP := nft.In("cluster-ips"+f.suffix, f.daddr)
	if b.opts.MasqueradeAll {
		return nft.NewRule(toClusterIP, nft.JumpChain(chainMark)), true
	}
	if !b.tellsPods(f) {
		return nft.Rule{}, false
	}
	return nft.NewRule(b.fromPod(f, false), toClusterIP, nft.JumpChain(chainMark)), true
}

// tellsPods reports whether packets of this node's pods can be told from others.
func (b *builder) tellsPods(f *family) bool {
	switch b.opts.DetectLocal {
	case DetectByCIDR:
		return len(prefixElements(f, b.opts.PodCIDRs)) > 0
	case DetectByInterface:
		return strings.TrimSuffix(b.opts.PodInterface, "*") != "" // the kernel has no pattern for all
	}
	return false
}

// fromPod matches packets of this node's pods, or those of others.
func (b *builder) fromPod(f *family, yes bool) nft.Statement {
	switch {
	case b.opts.DetectLocal == DetectByCIDR && yes:
		return nft.In("pod-cidrs"+f.suffix, f.saddr)
	case b.opts.DetectLocal == DetectByCIDR:
		if prefix, alone := lonePrefix(f, b.opts.PodCIDRs); alone {
			return nft.NotInPrefix(f.saddr, prefix) // each first packet meets this rule: 0.1 µs less than a set
		}
		return nft.NotIn("pod-cidrs"+f.suffix, f.saddr)
	case yes:
		return nft.Iifname(b.opts.PodInterface)
	}
	return nft.NotIifname(b.opts.PodInterface)
}

// externalLocal decides about connections by an external frontend of policy
// Local: pods take the short circuit to all backends, and so does this node,
// masqueraded; everyone else gets the local ones or is dropped in `unserved`.
func (b *builder) externalLocal() {
	for _, f := range b.opts.families() {
		var rules []nft.Rule
		if b.tellsPods(f) {
			rules = append(rules, nft.NewRule(b.fromPod(f, true), nft.Verdict{Kind: nft.Return}))
		}
		lookup := nft.NewRule(nft.Vmap("local-services"+f.suffix, f.frontend()...))
		rules = append(rules,
			nft.NewRule(nft.FibSaddrLocal(), nft.GotoChain(chainMark)),
			lookup, lookup,
			nft.NewRule(nft.Verdict{Kind: nft.Accept}))
		b.chain(chainExternalLocal+f.suffix, rules...)
	}
}

// firewall drops connections to frontends with source ranges from elsewhere.
func (b *builder) firewall() {
	var rules []nft.Rule
	for _, f := range b.opts.families() {
		rules = append(rules, nft.NewRule(
			nft.In("firewalled"+f.suffix, f.frontend()...),
			nft.NotIn("allowed-sources"+f.suffix, append(f.frontend(), f.saddr)...),
			nft.Verdict{Kind: nft.Drop}))
	}
	b.chain(chainFirewall, rules...)
}

// unserved handles new connections whose destination was not translated: to
// frontends without backends, to unused ports of cluster IPs, and to cluster IPs
// that nobody has.
func (b *builder) unserved() {
	b.chain(chainRejectNew, nft.NewRule(nft.Reject()))
	var rules []nft.Rule
	for _, f := range b.opts.families() {
		rules = append(rules,
			nft.NewRule(nft.Vmap("blocked"+f.suffix, f.frontend()...)),
			nft.NewRule(nft.In("cluster-ips"+f.suffix, f.daddr), nft.GotoChain(chainRejectNew)),
			nft.NewRule(nft.In("service-cidrs"+f.suffix, f.daddr), nft.Verdict{Kind: nft.Drop}))
	}
	b.chain(chainUnserved, rules...)
}

// masquerading replaces the source of marked packets, and of endpoints on this
// node that reach themselves through a frontend: their answer would not come by
// here otherwise.
func (b *builder) masquerading() (rules []nft.Rule) {
	for _, mark := range []uint32{b.opts.MasqueradeMark, b.opts.FormerMark} {
		if mark != 0 {
			rules = append(rules, nft.NewRule(nft.MarkIsSet(mark), nft.FlipMark(mark), nft.Masquerade()))
		}
	}
	for _, f := range b.opts.families() {
		rules = append(rules, nft.NewRule(
			nft.CtStatusDNAT(), nft.In("hairpin"+f.suffix, f.saddr, f.daddr), nft.Masquerade()))
	}
	return rules
}

// learnAffinity finds the timeout of the frontend that a new connection came in
// by. See learn for the rule per protocol. It is asked only of connections to an
// address of such a frontend, which is a third of the work for all others.
func (b *builder) learnAffinity() {
	var rules []nft.Rule
	for _, f := range b.opts.families() {
		for _, proto := range protocols {
			rules = append(rules, nft.NewRule(
				nft.MatchL4Proto(proto), nft.Vmap("learn"+f.suffix, f.originalFrontend()...)))
		}
	}
	b.chain(chainLearn, rules...)
}
