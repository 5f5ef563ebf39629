package takeover

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// cleanNFTables removes the tables of kube-proxy's nftables mode, and the chains of
// its iptables mode from the tables that iptables-nft keeps in nf_tables.
func (c *cleaner) cleanNFTables() error {
	var errs []error
	for _, f := range families {
		names, err := listTables(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("list tables of family %s: %w", f, err))
			continue
		}
		for _, name := range names {
			switch {
			case name == proxyTable:
				errs = append(errs, c.removeTable(f, name))
			case proxyChains[name] != nil:
				errs = append(errs, c.cleanTable(f, name))
			}
		}
	}
	return errors.Join(errs...)
}

func listTables(f family) (names []string, err error) {
	s, err := dialNfnetlink()
	if err != nil {
		return nil, err
	}
	defer s.close()
	err = s.ask(nfTables(unix.NFT_MSG_GETTABLE, netlink.Dump, f), func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if ad.Type() == unix.NFTA_TABLE_NAME {
				names = append(names, ad.String())
			}
		}
		return nil
	})
	return names, err
}

func (c *cleaner) removeTable(f family, name string) error {
	object := fmt.Sprintf("table %s %s", f, name)
	if !c.DryRun {
		s, err := dialNfnetlink()
		if err != nil {
			return err
		}
		defer s.close()
		m := nfTables(unix.NFT_MSG_DELTABLE, 0, f, text(unix.NFTA_TABLE_NAME, name))
		err = s.commit(0, []change{{object, m}})
		if errors.Is(err, unix.ENOENT) {
			return nil // someone was faster
		}
		if err != nil {
			return fmt.Errorf("remove %w", err)
		}
	}
	c.removed("%s", object)
	return nil
}

// cleanTable removes kube-proxy's part of a table.
func (c *cleaner) cleanTable(f family, name string) error {
	var p plan
	err := retry(func() (err error) {
		s, err := dialNfnetlink()
		if err != nil {
			return err
		}
		defer s.close()
		var t *table
		var generation uint32
		if t, generation, err = s.readTable(f, name); err != nil {
			return err
		}
		if p = t.plan(); c.DryRun {
			return nil
		}
		return s.execute(t, p, generation)
	})
	if err != nil {
		return fmt.Errorf("remove kube-proxy's chains from table %s %s: %w", f, name, err)
	}
	c.tell(fmt.Sprintf("%s %s", f, name), &p)
	return nil
}

// readTable reads a table's chains, those jumps that a plan asks for, and the
// generation at which they were read. The rules of kube-proxy's own chains matter
// only if others need the chains: to dump all of them takes the kernel seconds
// when they are 100,000, as it walks from the front for each 32 KiB.
func (s *nfnetlink) readTable(f family, name string) (*table, uint32, error) {
	generation, err := s.generation()
	if err != nil {
		return nil, 0, fmt.Errorf("read generation: %w", err)
	}
	t := &table{family: f, name: name}
	if err = s.readChains(t); err == nil {
		err = s.readNeededJumps(t)
	}
	now, genErr := s.generation()
	if genErr == nil && now != generation {
		return nil, 0, errChanged
	}
	return t, generation, errors.Join(err, genErr)
}

func (s *nfnetlink) readChains(t *table) error {
	err := s.ask(nfTables(unix.NFT_MSG_GETCHAIN, netlink.Dump, t.family), func(ad *netlink.AttributeDecoder) error {
		var c chain
		var inTable bool
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_CHAIN_TABLE:
				inTable = ad.String() == t.name
			case unix.NFTA_CHAIN_NAME:
				c.name = ad.String()
			case unix.NFTA_CHAIN_HOOK:
				c.builtIn = true
			case unix.NFTA_CHAIN_POLICY:
				c.drops = ad.Uint32() == 0 // NF_DROP
			}
		}
		if inTable {
			t.chains = append(t.chains, c)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read chains: %w", err)
	}
	return nil
}

// readNeededJumps reads the jumps of all chains but kube-proxy's, then of those of
// its chains that they need, and so on.
func (s *nfnetlink) readNeededJumps(t *table) error {
	own, read := t.proxyChains(), map[string]bool{}
	for i := range t.chains {
		if c := &t.chains[i]; own[c.name] == nil {
			if err := s.readJumps(t, c); err != nil {
				return err
			}
		}
	}
	for more := true; more; {
		more = false
		for name := range t.plan().kept {
			if read[name] {
				continue
			}
			if err := s.readJumps(t, own[name]); err != nil {
				return err
			}
			read[name], more = true, true
		}
	}
	return nil
}

func (s *nfnetlink) readJumps(t *table, c *chain) error {
	request := nfTables(unix.NFT_MSG_GETRULE, netlink.Dump, t.family,
		text(unix.NFTA_RULE_TABLE, t.name), text(unix.NFTA_RULE_CHAIN, c.name))
	err := s.ask(request, func(ad *netlink.AttributeDecoder) error {
		var j jump
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_RULE_HANDLE:
				j.rule = ad.Uint64()
			case unix.NFTA_RULE_EXPRESSIONS:
				ad.Nested(j.decodeExpressions)
			}
		}
		if j.to != "" {
			c.jumps = append(c.jumps, j)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read rules of chain %s: %w", plain(c.name), err)
	}
	return nil
}

func (j *jump) decodeExpressions(list *netlink.AttributeDecoder) error {
	for list.Next() {
		list.Nested(j.decode)
	}
	return nil
}

// decode takes the chain from an expression "immediate" that has a verdict with
// one, which is how iptables-nft writes a jump.
func (j *jump) decode(ad *netlink.AttributeDecoder) error {
	var name string
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			name = ad.String()
		case unix.NFTA_EXPR_DATA:
			if name != "immediate" {
				continue
			}
			ad.Nested(within(unix.NFTA_IMMEDIATE_DATA, within(unix.NFTA_DATA_VERDICT, func(verdict *netlink.AttributeDecoder) error {
				for verdict.Next() {
					if verdict.Type() == unix.NFTA_VERDICT_CHAIN {
						j.to = verdict.String()
					}
				}
				return nil
			})))
		}
	}
	return nil
}

// within decodes what is nested in attributes of one type.
func within(typ uint16, f func(*netlink.AttributeDecoder) error) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if ad.Type() == typ {
				ad.Nested(f)
			}
		}
		return nil
	}
}

// maxChanges is how many changes a transaction has at most, so that it and its
// errors fit into default socket buffers.
const maxChanges = 500

// execute removes the jumps in one transaction, then, as no packet reaches them any
// more, the rules of the chains, then the chains.
func (s *nfnetlink) execute(t *table, p plan, generation uint32) error {
	if p.empty() {
		return nil
	}
	where := text(unix.NFTA_RULE_TABLE, t.name)
	var jumps, rules, chains []change
	for _, j := range p.jumps {
		m := nfTables(unix.NFT_MSG_DELRULE, 0, t.family, where, text(unix.NFTA_RULE_CHAIN, j.chain), number64(unix.NFTA_RULE_HANDLE, j.rule))
		jumps = append(jumps, change{fmt.Sprintf("rule of chain %s that jumps to %s", plain(j.chain), plain(j.to)), m})
	}
	for _, name := range p.chains {
		object := "chain " + plain(name)
		rules = append(rules, change{object, nfTables(unix.NFT_MSG_DELRULE, 0, t.family, where, text(unix.NFTA_RULE_CHAIN, name))})
		m := nfTables(unix.NFT_MSG_DELCHAIN, 0, t.family, text(unix.NFTA_CHAIN_TABLE, t.name), text(unix.NFTA_CHAIN_NAME, name))
		chains = append(chains, change{object, m})
	}
	for _, list := range [][]change{jumps, rules, chains} {
		for len(list) > 0 {
			n := min(len(list), maxChanges)
			if err := s.commit(generation, list[:n]); err != nil {
				return err
			}
			list, generation = list[n:], 0 // the next generation is our own
		}
	}
	return nil
}

// tell tells what became of a table's part.
func (c *cleaner) tell(in string, p *plan) {
	for _, j := range p.jumps {
		c.removed("rule %s %s: jump %s", in, plain(j.chain), plain(j.to))
	}
	for _, name := range p.chains {
		c.removed("chain %s %s", in, plain(name))
	}
	for _, name := range sortedKeys(p.kept) {
		c.Tell(Finding{Kept, fmt.Sprintf("chain %s %s", in, plain(name)),
			fmt.Sprintf("chain %s, which is not kube-proxy's, jumps to it", plain(p.kept[name]))})
	}
	if p.blocks {
		c.Tell(Finding{Warning, fmt.Sprintf("chain %s FORWARD", in),
			"its policy is drop, and " + forward + " accepted what Services forward: accept traffic of pods and to node ports there by a rule of your own"})
	}
}
