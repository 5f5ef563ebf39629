// Package trace follows live packets through the ruleset: a table of its own sets
// the trace flag on the first packets of some connections, and the kernel tells of
// each rule that they meet.
package trace

import (
	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
)

// TableName is the table that sets the flag. It belongs to the process that traces
// and goes with it, whatever ends it (table flag owner, kernel 5.12).
const TableName = "kube-vmap-trace"

// priority is behind conntrack (-200), which tells first packets from others, and
// before everything of kube-vmap's (-110).
const priority = -150

// table makes the table for the connections that are asked for: by their address,
// protocol and port, and their source if that is given.
func table(q explain.Query) *nft.Table {
	is4 := q.To.Addr.Is4()
	addr, saddr, daddr := nft.IPv6Addr, nft.IP6Saddr, nft.IP6Daddr
	if is4 {
		addr, saddr, daddr = nft.IPv4Addr, nft.IPSaddr, nft.IPDaddr
	}
	key := nft.Types{addr, nft.InetProto, nft.InetService}
	fields := []nft.Field{daddr, nft.L4Proto, nft.ThDport}
	value := nft.Value{}.Addr(q.To.Addr).Protocol(nft.Protocol(q.To.Protocol)).Port(q.To.Port)
	if q.From.IsValid() {
		key = append(key, addr)
		fields = append(fields, saddr)
		value = value.Addr(q.From)
	}
	const set = "traced"
	rule := nft.NewRule(nft.CtStateNew(), nft.In(set, fields...), nft.Trace())
	chain := func(name string, hook nft.Hook) *nft.Chain {
		return &nft.Chain{Name: name, Base: &nft.Base{Type: nft.FilterChain, Hook: hook, Priority: priority}, Rules: []nft.Rule{rule}}
	}
	return &nft.Table{
		Name: TableName, Owned: true,
		Sets:   []*nft.Set{{Name: set, Key: key, Elements: []nft.Element{{Key: value}}}},
		Chains: []*nft.Chain{chain("prerouting", nft.Prerouting), chain("output", nft.Output)},
	}
}
