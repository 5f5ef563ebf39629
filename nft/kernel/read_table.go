package kernel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// readAttempts is how often ReadTable begins again when the ruleset changes
// under it, with a pause that grows from readPause.
const (
	readAttempts = 12
	readPause    = 2 * time.Millisecond
)

// Snapshot is a table as it was in one generation.
type Snapshot struct {
	Table      *nft.Table // nil if there is none
	Generation uint32
}

// ReadTable reads a table of the inet family with all it holds: its flags, the
// definitions and elements of its sets, its chains, and its rules as bytecode.
// It reads again while the ruleset changes under it, and gives up with
// ErrInterrupted.
//
// What package nft can't express is read so that it differs from every wanted
// table: a set with other types has no key type and no elements. Sets without a
// name, objects and flow tables are left out: they go with the rules that use
// them, or with the table.
func (c *Conn) ReadTable(name string) (Snapshot, error) {
	return c.ReadStructure(name, func(string) bool { return true })
}

// ReadStructure is ReadTable with the elements of those sets only that the caller
// asks for; big ones are read by ReadSet.
func (c *Conn) ReadStructure(name string, withElements func(set string) bool) (Snapshot, error) {
	for attempt := range readAttempts {
		s, err := c.readTableOnce(name, withElements)
		if err == nil {
			return s, nil
		}
		// What a dump asks for may be gone by then.
		if !errors.Is(err, ErrInterrupted) && !errors.Is(err, unix.ENOENT) {
			return Snapshot{}, fmt.Errorf("read table %s: %w", name, err)
		}
		time.Sleep(readPause << attempt / 2)
	}
	return Snapshot{}, fmt.Errorf("read table %s, %d times: %w", name, readAttempts, ErrInterrupted)
}

func (c *Conn) readTableOnce(name string, withElements func(set string) bool) (Snapshot, error) {
	g, err := c.Generation()
	if err != nil {
		return Snapshot{}, err
	}
	t, err := c.readTable(name, g.ID, withElements)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{t, g.ID}, c.checkGeneration(g.ID)
}

// checkGeneration makes sure that nothing was committed since: the messages of a
// dump carry only the low 16 bits of the generation.
func (c *Conn) checkGeneration(id uint32) error {
	now, err := c.Generation()
	if err == nil && now.ID != id {
		err = ErrInterrupted
	}
	return err
}

func (c *Conn) readTable(name string, generation uint32, withElements func(set string) bool) (*nft.Table, error) {
	t, err := c.readTableFlags(name)
	if t == nil || err != nil {
		return nil, err
	}
	if err := c.readSets(t, generation); err != nil {
		return nil, fmt.Errorf("read sets: %w", err)
	}
	for _, s := range t.Sets {
		if !withElements(s.Name) {
			continue
		}
		if err := c.collectElements(t.Name, s, generation); err != nil {
			return nil, fmt.Errorf("read elements of %s: %w", s.Name, err)
		}
	}
	if err := c.readChains(t, generation); err != nil {
		return nil, fmt.Errorf("read chains: %w", err)
	}
	if err := c.readRules(t, generation); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return t, nil
}

// collectElements reads all elements into the set. While the set's hash table is
// rebuilt it reads again; when another generation has begun it gives up.
func (c *Conn) collectElements(table string, s *nft.Set, generation uint32) error {
	for attempt := range readAttempts {
		s.Elements = nil
		err := c.readElements(table, s, generation, func(e *nft.Element) error {
			s.Elements = append(s.Elements, *e)
			return nil
		})
		if !errors.Is(err, ErrInterrupted) {
			return err
		}
		if err := c.checkGeneration(generation); err != nil {
			return err
		}
		time.Sleep(readPause << attempt / 2)
	}
	return ErrInterrupted
}

// readTableFlags reads the table itself, nil if there is none.
func (c *Conn) readTableFlags(name string) (t *nft.Table, err error) {
	err = c.get(unix.NFT_MSG_GETTABLE,
		func(b *buffer) { b.string(unix.NFTA_TABLE_NAME, name) },
		func(_ uint16, attributes []byte) { t = parseTable(attributes) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err == nil && t == nil {
		err = errors.New("the kernel's answer is lost")
	}
	return t, err
}

func parseTable(attributes []byte) *nft.Table {
	t := &nft.Table{}
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_TABLE_NAME:
			t.Name = string(trimNUL(data))
		case unix.NFTA_TABLE_FLAGS:
			flags := readUint32(data)
			t.Owned, t.Persist = flags&tableOwner != 0, flags&tablePersist != 0
			t.Dormant = flags&unix.NFT_TABLE_F_DORMANT != 0
		}
	}
	return t
}

// ListTables names the tables of the inet family.
func (c *Conn) ListTables() ([]string, error) {
	var names []string
	_, err := c.exchange(unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP, func(*buffer) {},
		func(_, _ uint16, attributes []byte) error {
			names = append(names, parseTable(attributes).Name)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return names, nil
}

// readChains appends the table's chains. The kernel can only list those of all
// tables.
func (c *Conn) readChains(t *nft.Table, generation uint32) error {
	return c.dump(unix.NFT_MSG_GETCHAIN, generation, func(*buffer) {}, func(_ uint16, attributes []byte) error {
		if table, chain := parseChain(attributes); table == t.Name {
			t.Chains = append(t.Chains, chain)
		}
		return nil
	})
}

func parseChain(attributes []byte) (table string, c *nft.Chain) {
	c = &nft.Chain{}
	var base nft.Base
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_CHAIN_TABLE:
			table = string(trimNUL(data))
		case unix.NFTA_CHAIN_NAME:
			c.Name = string(trimNUL(data))
		case unix.NFTA_CHAIN_TYPE:
			base.Type = nft.ChainType(trimNUL(data))
		case unix.NFTA_CHAIN_POLICY:
			base.Drops = readUint32(data) != policyAccept
		case unix.NFTA_CHAIN_HOOK:
			c.Base = &base
			for typ, data := range attrs(data) {
				switch typ {
				case unix.NFTA_HOOK_HOOKNUM:
					base.Hook = nft.Hook(readUint32(data))
				case unix.NFTA_HOOK_PRIORITY:
					base.Priority = int32(readUint32(data))
				}
			}
		}
	}
	return table, c
}

func (c *Conn) readRules(t *nft.Table, generation uint32) error {
	chains := make(map[string]*nft.Chain, len(t.Chains))
	for _, chain := range t.Chains {
		chains[chain.Name] = chain
	}
	request := func(b *buffer) { b.string(unix.NFTA_RULE_TABLE, t.Name) }
	return c.dump(unix.NFT_MSG_GETRULE, generation, request, func(_ uint16, attributes []byte) error {
		name, rule := parseRule(attributes)
		if chain := chains[name]; chain != nil {
			chain.Rules = append(chain.Rules, rule)
		}
		return nil
	})
}

func parseRule(attributes []byte) (chain string, r nft.Rule) {
	r.ReadBytecode = []byte{} // a rule without expressions is a read one too
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_RULE_CHAIN:
			chain = string(trimNUL(data))
		case unix.NFTA_RULE_HANDLE:
			r.Handle = readUint64(data)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.ReadBytecode = slices.Clone(data)
		}
	}
	return chain, r
}
