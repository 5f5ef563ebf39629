package nft

// Table is one table of the inet family with all it holds. The order of chains
// and sets is the order in which they are printed; the order of rules in a
// chain is the order in which packets meet them.
type Table struct {
	Name    string
	Owned   bool // flag owner: only the socket that made it may change it (kernel 5.12)
	Persist bool // flag persist: an owned table outlives its owner (kernel 6.9)
	Dormant bool // flag dormant: no packet sees it. As read from the kernel; nothing here wants it
	Sets    []*Set
	Chains  []*Chain
}

// isOrphan reports whether the table's owner is gone.
func (t *Table) isOrphan() bool { return t.Persist && !t.Owned }

// Set finds a set or map by name, nil if there is none.
func (t *Table) Set(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Chain finds a chain by name, nil if there is none.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Set is a set, or a map if it has data or verdicts.
type Set struct {
	Name     string
	Key      Types
	Data     Types  // fields of the data of a map of values
	Verdicts bool   // a verdict map
	Interval bool   // keys are intervals
	Dynamic  bool   // the packet path adds elements, which time out
	Counters bool   // each element counts packets and bytes
	Size     uint32 // most elements; 0: no limit, or 65,535 if Dynamic

	// LoadTypeof is the `typeof` head that nft needs to load the rules that use
	// this set, where the types alone do not do (numgen in a key). It is text
	// only: with typeof in the kernel, nft 0.9.8 and 1.0.2 abort on listing.
	LoadTypeof string

	Elements []Element
}

// IsMap reports whether the set maps keys to values.
func (s *Set) IsMap() bool { return len(s.Data) > 0 }

// IsVerdictMap reports whether the set maps keys to verdicts.
func (s *Set) IsVerdictMap() bool { return s.Verdicts }

// SameDefinition reports whether two sets could hold each other's elements:
// all but the elements is equal.
func (s *Set) SameDefinition(o *Set) bool {
	return s.Name == o.Name && s.Key.ID() == o.Key.ID() && s.Data.ID() == o.Data.ID() &&
		s.Verdicts == o.Verdicts && s.Interval == o.Interval && s.Dynamic == o.Dynamic &&
		s.Counters == o.Counters && s.limit() == o.limit()
}

// limit is the most elements that the set takes, 0 for no limit.
func (s *Set) limit() uint32 {
	if s.Dynamic && s.Size == 0 {
		return 65535 // net/netfilter/nft_dynset.c, nft_dynset_init
	}
	return s.Size
}

// Chain is a base chain if it has a hook, else one that rules jump to.
type Chain struct {
	Name  string
	Base  *Base
	Rules []Rule
}

// Base hooks a chain into the packet path.
type Base struct {
	Type     ChainType
	Hook     Hook
	Priority int32 // lower runs first; conntrack is at -200
	Drops    bool  // policy drop. As read from the kernel; every chain wanted here accepts
}

func (b *Base) policy() string {
	if b.Drops {
		return "drop"
	}
	return "accept"
}

// ChainType says what a base chain may do.
type ChainType string

// The types of base chains.
const (
	FilterChain ChainType = "filter"
	NATChain    ChainType = "nat"
)

// Hook is a place in the packet path, by its number in the kernel
// (enum nf_inet_hooks).
type Hook uint32

// The hooks of the inet family.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

func (h Hook) String() string {
	return [...]string{"prerouting", "input", "forward", "output", "postrouting"}[h]
}
