package kernel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

var (
	// ErrUncertain is wrapped by errors after which a transaction may be committed,
	// in whole or in part: an answer was lost, or a transaction that had to be cut
	// into several batches failed in a later one. The caller must read the kernel
	// before it goes on, and never repeat the transaction blindly.
	ErrUncertain = errors.New("it is uncertain what the kernel has committed")

	// ErrInterrupted is returned when the ruleset changed while it was read. What
	// was read so far may lack elements or have some twice; the caller starts again.
	ErrInterrupted = errors.New("the ruleset changed while it was read")
)

// Error is the kernel's refusal of one operation. Nothing of its batch was
// applied.
type Error struct {
	Operation nft.OperationKind
	Table     string
	Object    string       // the set or chain; empty for the table itself
	Set       *nft.Set     // the definition, of set and element operations
	Element   *nft.Element // the element at fault, nil if it is not known
	Rule      string       // the text of the rule, of AddRule

	// Whole says that the kernel refused the batch and not one operation of it: at
	// its beginning, for want of a right or of nf_tables, or at its end, for want of
	// memory. Operation and Object mean nothing then.
	Whole bool

	Errno   unix.Errno
	Message string // the kernel's extended ACK, if it says more than the number
}

// Unwrap returns the error number: errors.Is(err, unix.ENOENT) works.
func (e *Error) Unwrap() error { return e.Errno }

func (e *Error) Error() string {
	var sb strings.Builder
	sb.WriteString(e.what())
	fmt.Fprintf(&sb, ": %v", e.Errno)
	if e.Message != "" {
		fmt.Fprintf(&sb, ": %s", e.Message)
	}
	if h := e.hint(); h != "" {
		fmt.Fprintf(&sb, " (%s)", h)
	}
	return sb.String()
}

// what names the operation as an nft command.
func (e *Error) what() string {
	if e.Whole {
		return fmt.Sprintf("commit to table %s", e.Table)
	}
	words := []string{e.Operation.String()}
	if e.Object == "" {
		words = append(words, e.Table)
	} else {
		words = append(words, e.Object)
	}
	if e.Rule != "" {
		words = append(words, e.Rule)
	}
	if e.Element != nil && e.Set != nil {
		words = append(words, "{ "+e.elementText()+" }")
	}
	return strings.Join(words, " ")
}

// elementText is what of the element is sent: a delete has the key alone.
func (e *Error) elementText() string {
	if e.Operation == nft.AddElements {
		return e.Element.Text(e.Set)
	}
	keys := nft.Set{Key: e.Set.Key, Interval: e.Set.Interval}
	return (&nft.Element{Key: e.Element.Key, KeyEnd: e.Element.KeyEnd}).Text(&keys)
}

// hint says what an error number usually means here.
func (e *Error) hint() string {
	switch e.Errno {
	case unix.ENOENT:
		return e.missing()
	case unix.EEXIST:
		if e.Operation == nft.AddElements {
			return "the key is there with another value"
		}
		return "it exists, and what is known of the kernel is out of date"
	case unix.EPERM:
		return "CAP_NET_ADMIN is missing, or another process owns the table"
	case unix.ENFILE:
		return "the set is full; its size must grow"
	case unix.EMLINK, unix.ELOOP:
		return "chains lead to each other in a circle, or too deep"
	case unix.EBUSY:
		return "something still refers to it"
	case unix.EOPNOTSUPP:
		return e.unsupported()
	}
	return ""
}

func (e *Error) missing() string {
	switch {
	case e.Operation == nft.AddElements && e.Set != nil && e.Set.IsVerdictMap():
		return "do the set and the chain exist?"
	case e.Operation == nft.AddElements:
		return "does the set exist?"
	case e.Operation.IsOfElements():
		return "no such element, or no such set"
	case e.Operation == nft.AddRule:
		return "do the chain, and the chains and sets that the rule names, exist?"
	}
	return "it, or its table, does not exist"
}

func (e *Error) unsupported() string {
	switch {
	case e.Whole:
		return "does the kernel have nf_tables?"
	case e.Operation == nft.AddTable:
		return "the kernel lacks a table flag, or the table is there with other flags"
	}
	return "the kernel lacks a feature this needs"
}

// newError describes the refusal of one message of a batch.
func (b *batch) newError(f failure) *Error {
	index := int(int32(f.seq - b.firstSeq))
	if index <= 0 || index >= len(b.messages) || b.isCommitFailure(index, f) {
		return &Error{Table: b.table.Name, Whole: true, Errno: f.errno, Message: f.message}
	}
	e := b.newOperationError(&b.operations[b.messages[index].operation])
	e.Errno, e.Message = f.errno, f.message
	if e.Operation.IsOfElements() {
		e.Element = b.elementAt(index, f)
	}
	return e
}

// newOperationError begins an Error with the names of what op is about.
func (b *batch) newOperationError(op *nft.Operation) *Error {
	e := &Error{Operation: op.Kind, Table: b.table.Name, Set: op.Set}
	switch {
	case op.Set != nil:
		e.Object = op.Set.Name
	case op.Chain != nil:
		e.Object = op.Chain.Name
	}
	if op.Kind == nft.AddRule {
		e.Rule = op.Rule.String()
	}
	return e
}

// tooLarge is the error of an operation, the next, that no batch can hold.
func (b *batch) tooLarge() *Error {
	op := &b.operations[b.operation]
	e := b.newOperationError(op)
	e.Errno, e.Message = unix.EMSGSIZE, fmt.Sprintf("larger than a batch may be, %d bytes", b.limit)
	if len(op.Elements) > 0 {
		e.Element = &op.Elements[b.element]
	}
	return e
}

// isCommitFailure reports whether f is the failure of the commit itself, which the
// kernel reports as one of the first message. Only memory can be short then: what
// a validation at the end finds, the kernel attributes to the message at fault.
func (b *batch) isCommitFailure(index int, f failure) bool {
	return index == 1 && f.errno == unix.ENOMEM
}

// elementAt finds the element into which the offset of an extended ACK points.
func (b *batch) elementAt(index int, f failure) *nft.Element {
	m := b.messages[index]
	op := &b.operations[m.operation]
	position, count := listPosition(b.messageBytes(index), int(f.offset))
	if f.offset == 0 {
		if count > elementsInKernel(op.Set, &op.Elements[m.element]) {
			return nil // kernels before 5.19 do not say which
		}
		position = 0
	}
	if position < 0 {
		return nil
	}
	for i := m.element; i < len(op.Elements); i++ {
		position -= elementsInKernel(op.Set, &op.Elements[i])
		if position < 0 {
			return &op.Elements[i]
		}
	}
	return nil
}

// elementsInKernel is how many elements one of ours is in the message.
func elementsInKernel(s *nft.Set, e *nft.Element) int {
	if _, bounded := intervalEnd(s, e); bounded {
		return 2
	}
	return 1
}

// messageBytes is one message of the batch, with its header.
func (b *batch) messageBytes(index int) []byte {
	m, _, _ := nextMessage(b.buffer[b.messages[index].start:])
	return b.buffer[b.messages[index].start:][:unix.SizeofNlMsghdr+len(m.payload)]
}

// listPosition finds which element of an element message an offset points into,
// -1 if it is something before them, and counts the elements.
func listPosition(message []byte, offset int) (position, count int) {
	position = -1
	const headers = unix.SizeofNlMsghdr + sizeofNfgenmsg
	at := headers
	for typ, data := range attrs(message[headers:]) {
		at += unix.SizeofNlAttr
		if typ == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			for _, element := range attrs(data) {
				if at <= offset {
					position = count
				}
				at += unix.SizeofNlAttr + (len(element)+3)&^3
				count++
			}
			return position, count
		}
		at += (len(data) + 3) &^ 3
	}
	return -1, 0
}
