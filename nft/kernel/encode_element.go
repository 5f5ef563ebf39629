package kernel

import (
	"encoding/binary"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// elementAdd appends an element of s as NEWSETELEM takes it. It allocates
// nothing. The element has passed checkElement.
func (b *buffer) elementAdd(s *nft.Set, e *nft.Element) {
	end, bounded := intervalEnd(s, e)
	at := b.open(unix.NFTA_LIST_ELEM)
	b.elementKey(s, e)
	switch {
	case s.IsVerdictMap():
		b.elementVerdict(e.Verdict)
	case s.IsMap():
		b.elementValue(unix.NFTA_SET_ELEM_DATA, e.Data.Bytes()[:s.Data.Size()])
	}
	if e.Timeout > 0 {
		b.uint64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(e.Timeout.Milliseconds()))
		if e.Expires > 0 && e.Expires < e.Timeout {
			b.uint64(unix.NFTA_SET_ELEM_EXPIRATION, uint64(e.Expires.Milliseconds()))
		}
	}
	b.elementUserdata(e.Comment, isTree(s) && !bounded)
	if s.Counters && e.Packets > 0 {
		b.elementCounter(e)
	}
	b.close(at)
	if isTree(s) && bounded {
		b.elementEnd(&end, s.Key.Size())
	}
}

// elementCounter makes the element's counter begin where another one ended.
func (b *buffer) elementCounter(e *nft.Element) {
	expression := b.open(unix.NFTA_SET_ELEM_EXPR)
	b.string(unix.NFTA_EXPR_NAME, "counter")
	data := b.open(unix.NFTA_EXPR_DATA)
	b.uint64(unix.NFTA_COUNTER_BYTES, e.Bytes)
	b.uint64(unix.NFTA_COUNTER_PACKETS, e.Packets)
	b.close(data)
	b.close(expression)
}

// elementDelete appends an element of s as DELSETELEM takes it: the key alone.
func (b *buffer) elementDelete(s *nft.Set, e *nft.Element) {
	at := b.open(unix.NFTA_LIST_ELEM)
	if e.Key.IsZero() { // as read from the kernel; package nft writes none
		b.uint32(unix.NFTA_SET_ELEM_FLAGS, elemCatchall)
	} else {
		b.elementKey(s, e)
	}
	b.close(at)
	if end, bounded := intervalEnd(s, e); isTree(s) && bounded {
		b.elementEnd(&end, s.Key.Size())
	}
}

// isTree reports whether s has two elements in the kernel for each of ours.
func isTree(s *nft.Set) bool { return s.Interval && len(s.Key) == 1 }

func (b *buffer) elementKey(s *nft.Set, e *nft.Element) {
	b.elementValue(unix.NFTA_SET_ELEM_KEY, e.Key.Bytes()[:s.Key.Size()])
	if !isIntervalConcat(s) {
		return
	}
	end := &e.KeyEnd
	if end.IsZero() {
		end = &e.Key
	}
	b.elementValue(attrElemKeyEnd, end.Bytes()[:s.Key.Size()])
}

// elementEnd appends the element that ends an interval.
func (b *buffer) elementEnd(key *nft.Value, size int) {
	at := b.open(unix.NFTA_LIST_ELEM)
	b.uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	b.elementValue(unix.NFTA_SET_ELEM_KEY, key.Bytes()[:size])
	b.close(at)
}

func (b *buffer) elementValue(typ uint16, value []byte) {
	b.header(typ|unix.NLA_F_NESTED, unix.SizeofNlAttr+(len(value)+3)&^3)
	b.bytes(unix.NFTA_DATA_VALUE, value)
}

func (b *buffer) elementVerdict(v nft.Verdict) {
	data := b.open(unix.NFTA_SET_ELEM_DATA)
	verdict := b.open(unix.NFTA_DATA_VERDICT)
	b.uint32(unix.NFTA_VERDICT_CODE, uint32(v.Code()))
	if v.Chain != "" {
		b.string(unix.NFTA_VERDICT_CHAIN, v.Chain)
	}
	b.close(verdict)
	b.close(data)
}

// elementUserdata appends the comment, with the NUL that nft wants, and the
// mark of an interval that reaches the last value there is.
func (b *buffer) elementUserdata(comment string, openInterval bool) {
	if comment == "" && !openInterval {
		return
	}
	at := len(*b)
	b.header(unix.NFTA_SET_ELEM_USERDATA, 0)
	if comment != "" {
		*b = append(*b, userdataElementComment, byte(len(comment)+1))
		*b = append(*b, comment...)
		*b = append(*b, 0)
	}
	if openInterval {
		*b = append(*b, userdataElementFlags, 4)
		*b = binary.NativeEndian.AppendUint32(*b, elementOpenInterval)
	}
	b.close(at)
	b.pad()
}

// intervalEnd is the key behind an interval's last. bounded is false if the
// interval reaches the last key there is, and such an interval has no end
// element.
func intervalEnd(s *nft.Set, e *nft.Element) (end nft.Value, bounded bool) {
	if !isTree(s) {
		return end, false
	}
	end = e.KeyEnd
	if end.IsZero() {
		end = e.Key
	}
	return end, step(end.Bytes()[:min(s.Key.Size(), end.Len())], 1)
}

// step adds 1 or -1 to a big endian number. ok is false if it went round.
func step(b []byte, delta int8) (ok bool) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] += byte(delta)
		if delta > 0 && b[i] != 0 || delta < 0 && b[i] != 0xff {
			return true
		}
	}
	return false
}
