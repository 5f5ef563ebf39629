package kernel

import (
	"errors"
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// ReadCounters reads the elements of a set for the sake of their counters, and
// gives them to visit, whatever is committed meanwhile: unlike with ReadSet, some
// elements may then be missed and others come twice, without an error. The element
// is valid only until visit returns.
func (c *Conn) ReadCounters(table string, set *nft.Set, visit func(*nft.Element)) error {
	r := newElementReader(set, func(e *nft.Element) error {
		visit(e)
		return nil
	})
	r.seen = nil // an element that comes twice is as good as one that comes once
	if err := c.dumpElements(table, set, anyGeneration, r); err != nil {
		return fmt.Errorf("read counters of %s %s: %w", table, set.Name, err)
	}
	return nil
}

// ReadElement reads one element by its key. found is false if the set has none
// with it. It takes some 35 us, however large the set is.
func (c *Conn) ReadElement(table string, set *nft.Set, key nft.Value) (e nft.Element, found bool, err error) {
	r := newElementReader(set, func(read *nft.Element) error {
		e, found = *read, true
		return nil
	})
	request := func(b *buffer) {
		b.string(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		b.string(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
		list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		element := b.open(unix.NFTA_LIST_ELEM)
		b.elementKey(set, &nft.Element{Key: key})
		b.close(element)
		b.close(list)
	}
	var failed error
	err = c.get(unix.NFT_MSG_GETSETELEM, request, func(_ uint16, attributes []byte) {
		failed = errors.Join(failed, r.readList(attributes))
	})
	if errors.Is(err, unix.ENOENT) {
		return e, false, nil
	}
	if err = errors.Join(err, failed); err != nil {
		return e, false, fmt.Errorf("read element %s of %s %s: %w", key.Text(set.Key), table, set.Name, err)
	}
	return e, found, nil
}
