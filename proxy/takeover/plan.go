package takeover

import (
	"maps"
	"slices"
)

// table is what matters here of an iptables table, whoever keeps it.
type table struct {
	family family
	name   string // nat, filter or mangle
	chains []chain
}

// chain is a built-in or a user's chain.
type chain struct {
	name    string
	builtIn bool
	drops   bool // the policy of a built-in chain
	jumps   []jump
}

// jump is a rule that jumps or goes to a chain; other rules do not matter.
type jump struct {
	rule uint64 // handle or offset
	to   string
}

// plan says what of a table is to go.
type plan struct {
	jumps  []builtInJump
	chains []string
	kept   map[string]string // kube-proxy's chains that stay, and who needs them
	blocks bool              // packets that KUBE-FORWARD accepted are dropped by policy from now on
}

// builtInJump is a jump in a built-in chain.
type builtInJump struct {
	chain string
	jump
}

func (p *plan) empty() bool { return len(p.jumps) == 0 && len(p.chains) == 0 }

// plan decides what is kube-proxy's and not needed by others: its chains, and the
// rules of built-in chains that jump to them. A rule that jumps to KUBE-MARK-MASQ
// without going through a chain of kube-proxy is someone else's.
func (t *table) plan() plan {
	p := plan{kept: map[string]string{}}
	own := t.proxyChains()
	for _, c := range t.chains {
		if own[c.name] != nil {
			continue
		}
		for _, j := range c.jumps {
			switch {
			case own[j.to] == nil:
			case c.builtIn && j.to != markMasquerade:
				p.jumps = append(p.jumps, builtInJump{c.name, j})
				p.blocks = p.blocks || c.drops && j.to == forward
			default:
				keep(own, p.kept, j.to, c.name)
			}
		}
	}
	for _, name := range sortedKeys(own) {
		if _, kept := p.kept[name]; !kept {
			p.chains = append(p.chains, name)
		}
	}
	return p
}

func (t *table) proxyChains() map[string]*chain {
	own := map[string]*chain{}
	for i, c := range t.chains {
		if !c.builtIn && isProxyChain(t.name, c.name) {
			own[c.name] = &t.chains[i]
		}
	}
	return own
}

// keep keeps a chain for another that jumps to it, and what it jumps to itself.
func keep(own map[string]*chain, kept map[string]string, name, neededBy string) {
	if _, done := kept[name]; done || own[name] == nil {
		return
	}
	kept[name] = neededBy
	for _, j := range own[name].jumps {
		keep(own, kept, j.to, name)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
