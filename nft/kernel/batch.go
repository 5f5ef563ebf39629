package kernel

import (
	"encoding/binary"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

const (
	// maxElementList bounds the nested list of one element message, in bytes: it
	// must stay below 64 KiB, and longer lists are no faster.
	maxElementList = 32 << 10
	// batchTrailer is the length of the message that ends a batch.
	batchTrailer = unix.SizeofNlMsghdr + sizeofNfgenmsg
)

// sentMessage tells what a message of a batch is about. Its number in the batch
// is that of its sequence number.
type sentMessage struct {
	start     int // offset in the batch
	operation int // index in the operations
	element   int // index of its first element in the operation
}

// batch turns operations into batches that fit the socket: one batch, or
// several if the transaction is too large, cut between operations or elements.
type batch struct {
	table      *nft.Table
	operations []nft.Operation
	limit      int

	operation, element int // what comes next

	buffer   buffer
	firstSeq uint32
	messages []sentMessage // messages[0] is the message that begins the batch
}

// begin starts on a transaction's operations. The buffers are kept.
func (b *batch) begin(table *nft.Table, operations []nft.Operation, limit int) {
	b.table, b.operations, b.limit = table, operations, limit
	b.operation, b.element = 0, 0
}

func (b *batch) done() bool { return b.operation == len(b.operations) }

// fill writes the next batch, with sequence numbers from firstSeq on, and
// advances behind what went into it. It reports whether anything did: not if
// nothing is left, or if the next operation is larger than a batch may be.
func (b *batch) fill(firstSeq uint32) bool {
	b.buffer, b.messages, b.firstSeq = b.buffer[:0], b.messages[:0], firstSeq
	b.beginEnd(unix.NFNL_MSG_BATCH_BEGIN)
	b.messages = append(b.messages, sentMessage{operation: b.operation, element: b.element})
	for !b.done() && b.encodeNext() {
	}
	if len(b.messages) == 1 {
		return false
	}
	// The first message asks for an echo: of the commit, which tells the new
	// generation, and of itself. The last one asks for the answer, since kernels
	// before 6.10 do not acknowledge the end of a batch.
	b.setFlag(1, unix.NLM_F_ECHO)
	b.setFlag(len(b.messages)-1, unix.NLM_F_ACK)
	b.beginEnd(unix.NFNL_MSG_BATCH_END)
	return true
}

// nextSeq is the sequence number of the message that comes next.
func (b *batch) nextSeq() uint32 { return b.firstSeq + uint32(len(b.messages)) }

func (b *batch) beginEnd(typ uint16) {
	at := b.buffer.beginNetfilter(typ, 0, b.nextSeq(), unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.buffer.endMessage(at)
}

func (b *batch) setFlag(message int, flag uint16) {
	flags := b.buffer[b.messages[message].start+6:] // nlmsg_flags
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|flag)
}

// fits reports whether the batch, with its end, is small enough.
func (b *batch) fits() bool { return len(b.buffer)+batchTrailer <= b.limit }

// encodeNext appends a message with the next operation, or with the next of its
// elements. It reports false, and appends nothing, if that does not fit.
func (b *batch) encodeNext() bool {
	op := &b.operations[b.operation]
	next := sentMessage{start: len(b.buffer), operation: b.operation, element: b.element}
	typ, flags := messageType(op.Kind)
	b.buffer.beginMessage(typ, flags, b.nextSeq())
	if !b.encode(op) {
		b.buffer = b.buffer[:next.start]
		return false
	}
	b.buffer.endMessage(next.start)
	b.messages = append(b.messages, next)
	return true
}

// encode appends the attributes of op and advances, if they fit.
func (b *batch) encode(op *nft.Operation) (fits bool) {
	if op.Kind.IsOfElements() {
		return b.encodeElements(op)
	}
	name := b.table.Name
	switch op.Kind {
	case nft.AddTable:
		b.buffer.table(b.table, !b.isDeletedNext())
	case nft.DeleteTable:
		b.buffer.table(b.table, false)
	case nft.AddSet:
		b.buffer.set(name, op.Set, uint32(b.operation+1))
	case nft.DeleteSet:
		b.buffer.string(unix.NFTA_SET_TABLE, name)
		b.buffer.string(unix.NFTA_SET_NAME, op.Set.Name)
	case nft.AddChain, nft.DeleteChain:
		b.buffer.chain(name, op.Chain, op.Kind == nft.AddChain)
	case nft.FlushChain:
		b.buffer.rulesOf(name, op.Chain)
	case nft.AddRule:
		b.buffer.rule(name, op.Chain, op.Rule)
	}
	if b.fits() {
		b.operation++
		return true
	}
	return false
}

// isDeletedNext reports whether the next operation but this one deletes the
// table: this one then only makes sure that there is one.
func (b *batch) isDeletedNext() bool {
	next := b.operation + 1
	return next < len(b.operations) && b.operations[next].Kind == nft.DeleteTable
}

// encodeElements appends as many of op's elements as one message may hold, and
// only one in the message whose echo is asked for.
func (b *batch) encodeElements(op *nft.Operation) (fits bool) {
	b.buffer.string(unix.NFTA_SET_ELEM_LIST_TABLE, b.table.Name)
	b.buffer.string(unix.NFTA_SET_ELEM_LIST_SET, op.Set.Name)
	list := b.buffer.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	first := b.element
	for b.element < len(op.Elements) && (len(b.messages) > 1 || b.element == first) {
		mark := len(b.buffer)
		if e := &op.Elements[b.element]; op.Kind == nft.AddElements {
			b.buffer.elementAdd(op.Set, e)
		} else {
			b.buffer.elementDelete(op.Set, e)
		}
		if len(b.buffer)-list > maxElementList || !b.fits() {
			b.buffer = b.buffer[:mark]
			break
		}
		b.element++
	}
	if b.element == first {
		return false
	}
	b.buffer.close(list)
	if b.element == len(op.Elements) {
		b.operation, b.element = b.operation+1, 0
	}
	return true
}

// messageType is the message that carries an operation, and its flags. Chains and
// sets must be new, so that no rules are appended to a chain that has some.
func messageType(k nft.OperationKind) (typ, flags uint16) {
	switch k {
	case nft.AddTable:
		return unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE
	case nft.DeleteTable:
		return unix.NFT_MSG_DELTABLE, 0
	case nft.AddSet:
		return unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE | unix.NLM_F_EXCL
	case nft.DeleteSet:
		return unix.NFT_MSG_DELSET, 0
	case nft.AddChain:
		return unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE | unix.NLM_F_EXCL
	case nft.DeleteChain:
		return unix.NFT_MSG_DELCHAIN, 0
	case nft.FlushChain:
		return unix.NFT_MSG_DELRULE, 0 // without a handle: all rules of the chain
	case nft.AddRule:
		return unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND
	case nft.AddElements:
		return unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE
	case nft.DestroyElements:
		if canDestroy() {
			return msgDestroySetElem, 0
		}
	}
	return unix.NFT_MSG_DELSETELEM, 0
}

// operationsSent counts the elements and other operations of the last batch.
func (b *batch) operationsSent() int {
	n := 0
	for i, m := range b.messages[1:] {
		if op := &b.operations[m.operation]; len(op.Elements) == 0 {
			n++
		} else {
			n += b.elementsUpTo(i+2, m.operation) - m.element
		}
	}
	return n
}

// elementsUpTo is how many elements of an operation stand before a message.
func (b *batch) elementsUpTo(message, operation int) int {
	next := sentMessage{operation: b.operation, element: b.element}
	if message < len(b.messages) {
		next = b.messages[message]
	}
	if next.operation == operation {
		return next.element
	}
	return len(b.operations[operation].Elements)
}

// release forgets the transaction, and a buffer that a large one has left.
func (b *batch) release() {
	b.table, b.operations = nil, nil
	b.operation, b.element = 0, 0
	if cap(b.buffer) > keptBuffer {
		b.buffer = nil
	}
	b.messages = b.messages[:0]
}
