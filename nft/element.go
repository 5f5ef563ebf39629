package nft

import (
	"fmt"
	"strings"
	"time"
)

// MaxComment is the longest comment of an element, in bytes, that nft loads.
// (The kernel's limit for all user data is 255.)
const MaxComment = 128

// Element is one member of a set or one entry of a map. Which fields mean
// something depends on its set: Data in a map of values, Verdict in a verdict map,
// KeyEnd where the set has intervals.
type Element struct {
	Key     Value
	KeyEnd  Value // last key of the interval, inclusive; empty, or equal to Key: Key alone
	Data    Value
	Verdict Verdict
	Comment string        // at most MaxComment bytes, without quotes or control characters
	Timeout time.Duration // of learned elements; 0: the element stays
	Expires time.Duration // time left of Timeout; when written, 0: all of it
	Packets uint64        // the element's counter, where the set counts; when written, what it begins with
	Bytes   uint64
}

// lastKey is the last key of the interval, empty for a key alone.
func (e *Element) lastKey() Value {
	if e.KeyEnd == e.Key {
		return Value{}
	}
	return e.KeyEnd
}

// SameContent reports whether two elements with the same key hold the same
// value, verdict and comment. Counters and times are not content.
func (e *Element) SameContent(o *Element) bool {
	return e.lastKey() == o.lastKey() && e.Data == o.Data && e.Verdict == o.Verdict && e.Comment == o.Comment
}

// Text prints the element as nft lists it in a set of the given definition,
// without counter and times.
func (e *Element) Text(s *Set) string { return e.text(s, "") }

// loadText is the element's text in a form that loads: with its timeout.
func (e *Element) loadText(s *Set) string {
	if e.Timeout == 0 {
		return e.Text(s)
	}
	times := " timeout " + timeText(e.Timeout)
	if e.Expires >= time.Second {
		times += " expires " + timeText(e.Expires.Truncate(time.Second))
	}
	return e.text(s, times)
}

func (e *Element) text(s *Set, times string) string {
	var sb strings.Builder
	sb.WriteString(e.keyText(s))
	sb.WriteString(times)
	if e.Comment != "" {
		fmt.Fprintf(&sb, " comment \"%s\"", e.Comment) // nft has no escapes
	}
	switch {
	case s.IsVerdictMap():
		sb.WriteString(" : " + e.Verdict.String())
	case s.IsMap():
		sb.WriteString(" : " + e.Data.Text(s.Data))
	}
	return sb.String()
}

func (e *Element) keyText(s *Set) string {
	if !s.Interval || e.KeyEnd.IsZero() || e.KeyEnd == e.Key {
		return e.Key.Text(s.Key)
	}
	fields := make([]string, 0, len(s.Key))
	off := 0
	for _, t := range s.Key {
		end := off + t.Size()
		fields = append(fields, intervalText(t, e.Key.b[off:end], e.KeyEnd.b[off:end]))
		off += t.paddedSize()
	}
	return strings.Join(fields, " . ")
}

// intervalText prints one field of an interval as nft does: a prefix where it
// is one, else first-last.
func intervalText(t Type, first, last []byte) string {
	if string(first) == string(last) {
		return t.text(first)
	}
	if bits, ok := prefixLength(first, last); ok && (t == IPv4Addr || t == IPv6Addr) {
		return fmt.Sprintf("%s/%d", t.text(first), bits)
	}
	return t.text(first) + "-" + t.text(last)
}

// prefixLength finds the n for which first and last are the first and last
// address of a /n.
func prefixLength(first, last []byte) (int, bool) {
	bits, host := 0, false
	for i := range first {
		for mask := byte(0x80); mask != 0; mask >>= 1 {
			f, l := first[i]&mask, last[i]&mask
			switch {
			case f == l && !host:
				bits++
			case f == 0 && l != 0:
				host = true
			default:
				return 0, false
			}
		}
	}
	return bits, true
}
