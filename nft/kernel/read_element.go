package kernel

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// elementReader turns the kernel's elements of one set into those of package nft.
type elementReader struct {
	set    *nft.Set
	visit  func(*nft.Element) error
	chains map[string]string // one string per chain name, however many verdicts name it

	element nft.Element // the one being read, reused
	bounds  []bound     // of a set with two elements per interval

	seed maphash.Seed
	seen map[uint64]struct{} // hashes of the keys; nil where keys may come twice
}

func newElementReader(set *nft.Set, visit func(*nft.Element) error) *elementReader {
	r := &elementReader{set: set, visit: visit, chains: map[string]string{}, seed: maphash.MakeSeed()}
	if !set.Dynamic && !set.Interval {
		r.seen = map[uint64]struct{}{}
	}
	return r
}

// bound is the first key of an interval, or the key behind its last.
type bound struct {
	element nft.Element
	end     bool
}

// readList reads the elements of one message.
func (r *elementReader) readList(attributes []byte) error {
	for typ, list := range attrs(attributes) {
		if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, element := range attrs(list) {
			if err := r.read(element); err != nil {
				return err
			}
		}
	}
	return nil
}

// read parses one element and visits it. The two elements of an interval come in
// no order: those of such a set are kept until all are read.
func (r *elementReader) read(b []byte) error {
	flags, err := r.parse(b)
	if err != nil {
		return err
	}
	if isTree(r.set) {
		r.bounds = append(r.bounds, bound{r.element, flags&unix.NFT_SET_ELEM_INTERVAL_END != 0})
		return nil
	}
	if r.isRepeated() {
		return ErrInterrupted
	}
	return r.visit(&r.element)
}

// isRepeated reports whether the key came before. The kernel's hash table is
// rebuilt in the background for up to some tenths of a second after many
// elements were added or deleted (lib/rhashtable.c), without a new generation.
// A dump then goes on at the same count of elements in another order: as many
// elements are missing as come twice, and coming twice is all that can be seen.
func (r *elementReader) isRepeated() bool {
	if r.seen == nil {
		return false
	}
	n := len(r.seen)
	r.seen[maphash.Bytes(r.seed, r.element.Key.Bytes())] = struct{}{}
	return len(r.seen) == n
}

// finish visits the intervals that were kept.
func (r *elementReader) finish() error {
	slices.SortFunc(r.bounds, func(a, b bound) int {
		if c := bytes.Compare(a.element.Key.Bytes(), b.element.Key.Bytes()); c != 0 {
			return c
		}
		switch { // where one interval ends another may begin
		case a.end == b.end:
			return 0
		case a.end:
			return -1
		}
		return 1
	})
	for i := range r.bounds {
		b := &r.bounds[i]
		if b.end {
			continue
		}
		b.element.KeyEnd = lastOf(r.set, r.bounds[i+1:])
		if b.element.KeyEnd == b.element.Key {
			b.element.KeyEnd = nft.Value{}
		}
		if err := r.visit(&b.element); err != nil {
			return err
		}
	}
	return nil
}

// lastOf is the last key of an interval, by the bounds behind its first: the key
// before the next, or the last there is.
func lastOf(s *nft.Set, behind []bound) nft.Value {
	if len(behind) > 0 {
		last := behind[0].element.Key
		step(last.Bytes()[:s.Key.Size()], -1)
		return last
	}
	last, _ := nft.ValueOf(bytes.Repeat([]byte{0xff}, s.Key.Size()))
	return last
}

// parse fills r.element and returns the element's flags.
func (r *elementReader) parse(b []byte) (flags uint32, err error) {
	e := &r.element
	*e = nft.Element{}
	for typ, data := range attrs(b) {
		switch typ {
		case unix.NFTA_SET_ELEM_FLAGS:
			flags = readUint32(data)
		case unix.NFTA_SET_ELEM_KEY:
			e.Key, err = parseValue(data)
		case attrElemKeyEnd:
			e.KeyEnd, err = parseValue(data)
		case unix.NFTA_SET_ELEM_DATA:
			err = r.parseData(data)
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.Timeout = time.Duration(readUint64(data)) * time.Millisecond
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.Expires = time.Duration(readUint64(data)) * time.Millisecond
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = parseComment(data)
		case unix.NFTA_SET_ELEM_EXPR:
			r.parseExpression(data)
		case attrElemExpressions:
			for _, data := range attrs(data) {
				r.parseExpression(data)
			}
		}
		if err != nil {
			return 0, err
		}
	}
	if e.KeyEnd == e.Key {
		e.KeyEnd = nft.Value{}
	}
	return flags, nil
}

// parseValue reads NFTA_DATA_VALUE.
func parseValue(b []byte) (v nft.Value, err error) {
	for typ, data := range attrs(b) {
		if typ == unix.NFTA_DATA_VALUE {
			return nft.ValueOf(data)
		}
	}
	return v, nil
}

// parseData reads the data or the verdict of a map's element.
func (r *elementReader) parseData(b []byte) (err error) {
	if !r.set.IsVerdictMap() {
		r.element.Data, err = parseValue(b)
		return err
	}
	for typ, data := range attrs(b) {
		if typ == unix.NFTA_DATA_VERDICT {
			return r.parseVerdict(data)
		}
	}
	return nil
}

func (r *elementReader) parseVerdict(b []byte) error {
	var code int32
	var chain string
	for typ, data := range attrs(b) {
		switch typ {
		case unix.NFTA_VERDICT_CODE:
			code = int32(readUint32(data))
		case unix.NFTA_VERDICT_CHAIN:
			chain = r.intern(trimNUL(data))
		}
	}
	v, ok := nft.VerdictOf(code, chain)
	if !ok {
		return fmt.Errorf("element %s has the unknown verdict %d", r.element.Key.Text(r.set.Key), code)
	}
	r.element.Verdict = v
	return nil
}

func (r *elementReader) intern(name []byte) string {
	if s, ok := r.chains[string(name)]; ok {
		return s
	}
	s := string(name)
	r.chains[s] = s
	return s
}

// parseExpression reads a counter.
func (r *elementReader) parseExpression(b []byte) {
	for typ, data := range attrs(b) {
		if typ != unix.NFTA_EXPR_DATA {
			continue
		}
		for typ, data := range attrs(data) {
			switch typ {
			case unix.NFTA_COUNTER_BYTES:
				r.element.Bytes = readUint64(data)
			case unix.NFTA_COUNTER_PACKETS:
				r.element.Packets = readUint64(data)
			}
		}
	}
}

// parseComment finds the comment in an element's user data.
func parseComment(b []byte) string {
	for len(b) >= 2 {
		kind, n := b[0], int(b[1])
		if 2+n > len(b) {
			return ""
		}
		if kind == userdataElementComment {
			return string(trimNUL(b[2 : 2+n]))
		}
		b = b[2+n:]
	}
	return ""
}
