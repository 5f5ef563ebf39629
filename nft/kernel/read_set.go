package kernel

import (
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// ReadSet reads the elements of one set of known definition, and gives them to
// visit in no particular order. The element is valid only until visit returns. An
// error of visit ends the reading and is returned. If the ruleset changes
// meanwhile, or the kernel rebuilds the set's hash table (as it does for a while
// after many elements came or went), the error is ErrInterrupted, and what was
// visited may lack elements or have some twice: the caller starts again.
//
// The generation is that in which the elements were. A dynamic set is read
// whatever happens: the packet path changes it at any time, without a new
// generation, and elements that come or go meanwhile may make others be missed or
// come twice, without an error. Its generation is that in which the reading began.
func (c *Conn) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (generation uint32, err error) {
	g, err := c.Generation()
	if err == nil {
		err = c.readElements(table, set, g.ID, visit)
	}
	if err == nil && !set.Dynamic {
		err = c.checkGeneration(g.ID)
	}
	if err != nil {
		return 0, fmt.Errorf("read set %s %s: %w", table, set.Name, err)
	}
	return g.ID, nil
}

func (c *Conn) readElements(table string, set *nft.Set, generation uint32, visit func(*nft.Element) error) error {
	if len(set.Key) == 0 { // a set that package nft can't express
		return nil
	}
	if set.Dynamic {
		generation = anyGeneration
	}
	r := newElementReader(set, visit)
	if err := c.dumpElements(table, set, generation, r); err != nil {
		return err
	}
	return r.finish()
}

// dumpElements gives all elements of a set to the reader.
func (c *Conn) dumpElements(table string, set *nft.Set, generation uint32, r *elementReader) error {
	request := func(b *buffer) {
		b.string(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		b.string(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
	}
	return c.dump(unix.NFT_MSG_GETSETELEM, generation, request, func(_ uint16, attributes []byte) error {
		return r.readList(attributes)
	})
}

// readSets appends the definitions of the table's sets.
func (c *Conn) readSets(t *nft.Table, generation uint32) error {
	request := func(b *buffer) { b.string(unix.NFTA_SET_TABLE, t.Name) }
	return c.dump(unix.NFT_MSG_GETSET, generation, request, func(_ uint16, attributes []byte) error {
		if s, named := parseSet(attributes); named {
			t.Sets = append(t.Sets, s)
		}
		return nil
	})
}

// setAttributes is a set as the kernel describes it.
type setAttributes struct {
	name                                            string
	flags, keyType, keyLen, dataType, dataLen, size uint32
	expressions                                     int
	counter, timeout                                bool
}

// parseSet reads a definition. named is false for the nameless sets of rules.
func parseSet(attributes []byte) (s *nft.Set, named bool) {
	var a setAttributes
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_SET_NAME:
			a.name = string(trimNUL(data))
		case unix.NFTA_SET_FLAGS:
			a.flags = readUint32(data)
		case unix.NFTA_SET_KEY_TYPE:
			a.keyType = readUint32(data)
		case unix.NFTA_SET_KEY_LEN:
			a.keyLen = readUint32(data)
		case unix.NFTA_SET_DATA_TYPE:
			a.dataType = readUint32(data)
		case unix.NFTA_SET_DATA_LEN:
			a.dataLen = readUint32(data)
		case unix.NFTA_SET_TIMEOUT:
			a.timeout = true
		case unix.NFTA_SET_DESC:
			for typ, data := range attrs(data) {
				if typ == unix.NFTA_SET_DESC_SIZE {
					a.size = readUint32(data)
				}
			}
		case attrSetExpr:
			a.expression(data)
		case attrSetExpressions:
			for _, data := range attrs(data) {
				a.expression(data)
			}
		}
	}
	return a.set(), a.flags&unix.NFT_SET_ANONYMOUS == 0
}

func (a *setAttributes) expression(b []byte) {
	a.expressions++
	for typ, data := range attrs(b) {
		if typ == unix.NFTA_EXPR_NAME {
			a.counter = string(trimNUL(data)) == "counter"
		}
	}
}

// set is the set as package nft has it; without key types if it can't be
// expressed.
func (a *setAttributes) set() *nft.Set {
	s := &nft.Set{Name: a.name}
	key, ok := nft.TypesOf(a.keyType)
	if !ok || uint32(key.Size()) != a.keyLen {
		return s
	}
	want := nft.Set{
		Name: a.name, Key: key, Size: a.size, Counters: a.counter,
		Interval: a.flags&unix.NFT_SET_INTERVAL != 0,
		Dynamic:  a.flags&unix.NFT_SET_EVAL != 0,
	}
	if a.flags&unix.NFT_SET_MAP != 0 {
		want.Verdicts = a.dataType == dataTypeVerdict
		if !want.Verdicts {
			if want.Data, ok = nft.TypesOf(a.dataType); !ok || uint32(want.Data.Size()) != a.dataLen {
				return s
			}
		}
	}
	if setFlags(&want) != a.flags || a.expressions > 1 || a.counter != (a.expressions == 1) || a.timeout {
		return s
	}
	return &want
}
