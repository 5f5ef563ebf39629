package kernel

import (
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// checkOperations refuses elements that can't be encoded, before anything is
// sent: a transaction that is cut must not fail half-way for a bad value.
func checkOperations(table *nft.Table, operations []nft.Operation) error {
	for i := range operations {
		op := &operations[i]
		for j := range op.Elements {
			if fault := checkElement(op, &op.Elements[j]); fault != "" {
				return &Error{
					Operation: op.Kind, Table: table.Name, Object: op.Set.Name, Set: op.Set,
					Element: &op.Elements[j], Errno: unix.EINVAL, Message: fault,
				}
			}
		}
	}
	return nil
}

// checkElement says what is wrong with an element, "" if nothing is.
func checkElement(op *nft.Operation, e *nft.Element) string {
	s := op.Set
	if op.Kind != nft.AddElements && e.Key.IsZero() {
		return ""
	}
	if fault := checkLength("a key", s.Key, &e.Key); fault != "" {
		return fault
	}
	if !e.KeyEnd.IsZero() {
		if !s.Interval {
			return "an interval in a set without intervals"
		}
		if fault := checkLength("an end of the interval", s.Key, &e.KeyEnd); fault != "" {
			return fault
		}
	}
	if op.Kind != nft.AddElements {
		return ""
	}
	return checkContent(s, e)
}

// checkContent says what is wrong with an element behind its key.
func checkContent(s *nft.Set, e *nft.Element) string {
	if s.IsVerdictMap() && e.Verdict.Kind == nft.None {
		return "no verdict"
	}
	if s.IsMap() {
		if fault := checkLength("data", s.Data, &e.Data); fault != "" {
			return fault
		}
	}
	if len(e.Comment) > nft.MaxComment {
		return fmt.Sprintf("a comment of %d bytes, at most %d are allowed", len(e.Comment), nft.MaxComment)
	}
	return ""
}

// checkLength compares a value's length to that of its types. A value of one
// field may be padded, as in a concatenation.
func checkLength(what string, ts nft.Types, v *nft.Value) string {
	want := ts.Size()
	if v.Len() == want || len(ts) == 1 && v.Len() == (want+3)&^3 {
		return ""
	}
	return fmt.Sprintf("%s of %d bytes, its type %s has %d", what, v.Len(), ts, want)
}
