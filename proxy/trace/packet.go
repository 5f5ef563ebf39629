package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Packet is a packet with its way through the ruleset.
type Packet struct {
	ID    string `json:"id"` // the kernel's
	Flow  string `json:"flow"`
	Steps []Step `json:"steps"`
}

// Step is one rule that the packet met, or the end of a chain.
type Step struct {
	Table   string `json:"table"` // "inet kube-vmap"
	Chain   string `json:"chain"`
	Rule    string `json:"rule,omitempty"`    // its text; empty: the end of the chain
	Verdict string `json:"verdict,omitempty"` // empty: on to the next rule
	Flow    string `json:"flow,omitempty"`    // the packet as it is here, if that has changed
	Mark    string `json:"mark,omitempty"`
	In      int    `json:"in,omitempty"` // index of the interface
	Out     int    `json:"out,omitempty"`
}

// Rules knows the text of rules.
type Rules map[uint64]string

// RulesOf lists the rules of a table that was read.
func RulesOf(table *nft.Table) Rules {
	rules := Rules{}
	if table == nil {
		return rules
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			rules[r.Handle] = r.String()
		}
	}
	return rules
}

// add appends an event to the packet's way.
func (p *Packet) add(e *kernel.TraceEvent, rules Rules) {
	s := Step{
		Table: familyName(e.Family) + " " + e.Table, Chain: e.Chain, Verdict: e.Verdict.String(), In: e.In, Out: e.Out,
	}
	if flow := flowOf(e); flow != "" && flow != p.last() {
		if p.Flow == "" {
			p.Flow = flow
		} else {
			s.Flow = flow
		}
	}
	if e.Mark != 0 {
		s.Mark = fmt.Sprintf("0x%08x", e.Mark)
	}
	switch e.Kind {
	case kernel.TraceRule:
		s.Rule = rules.text(e)
	case kernel.TracePolicy:
		s.Verdict = "policy " + s.Verdict
	case kernel.TraceReturn:
		s.Verdict = "end of chain"
	}
	p.Steps = append(p.Steps, s)
}

// last is the flow as it was last seen.
func (p *Packet) last() string {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if p.Steps[i].Flow != "" {
			return p.Steps[i].Flow
		}
	}
	return p.Flow
}

func (r Rules) text(e *kernel.TraceEvent) string {
	if text, ok := r[e.Rule]; ok && e.Family == unix.NFPROTO_INET {
		return text
	}
	return fmt.Sprintf("rule with handle %d", e.Rule)
}

func familyName(family uint8) string {
	switch family {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	}
	return fmt.Sprintf("family %d", family)
}

// flowOf reads source and destination from the headers, "" if the event has none.
func flowOf(e *kernel.TraceEvent) string {
	var source, destination netip.Addr
	var protocol model.Protocol
	switch n := e.Network; {
	case len(n) >= 20 && n[0]>>4 == 4:
		source, destination = netip.AddrFrom4([4]byte(n[12:])), netip.AddrFrom4([4]byte(n[16:]))
		protocol = model.Protocol(n[9])
	case len(n) >= 40 && n[0]>>4 == 6:
		source, destination = netip.AddrFrom16([16]byte(n[8:])), netip.AddrFrom16([16]byte(n[24:]))
		protocol = model.Protocol(n[6])
	default:
		return ""
	}
	if len(e.Transport) < 4 {
		return fmt.Sprintf("%s -> %s, protocol %s", source, destination, protocol)
	}
	from := netip.AddrPortFrom(source, binary.BigEndian.Uint16(e.Transport))
	to := netip.AddrPortFrom(destination, binary.BigEndian.Uint16(e.Transport[2:]))
	return fmt.Sprintf("%s -> %s/%s", from, to, protocol)
}
