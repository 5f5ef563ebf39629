package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// keptBuffer is how large a buffer, in bytes, is kept from one commit to the
// next. What a full load grew beyond it is given back.
const keptBuffer = 4 << 20

// Result tells of a commit.
type Result struct {
	// Generation is that of the ruleset which the commit made, 0 if it changed
	// nothing. Commits of all processes count it up by one: if it is not one more
	// than that of the last commit, another process committed in between.
	Generation uint32
	Operations int // elements, and operations on other objects, that were committed
	Bytes      int // what was sent
}

// Commit applies a transaction as a whole or not at all: as one batch, in one
// system call. Only if it is larger than the socket's buffer allows (512 MiB, or
// twice net.core.wmem_max without the right to more), or than MaxBatchBytes, it
// is cut into several batches in the order of its operations, and an error in a
// later one leaves the earlier ones committed: such an error wraps ErrUncertain.
// The claim of an owned table goes ahead in a batch of its own where base chains
// are added, and stays if the rest is refused.
//
// A refusal by the kernel is an *Error, joined with a few more if the kernel
// found more than one; nothing is applied. An error that wraps ErrUncertain says
// that the transaction may be applied: the caller must read the kernel.
func (c *Conn) Commit(tx *nft.Transaction) (Result, error) {
	operations := withoutEmpty(tx.Operations())
	if err := checkOperations(tx.Table, operations); err != nil || len(operations) == 0 {
		return Result{}, err
	}
	s, err := c.writer.open()
	if err != nil {
		return Result{}, err
	}
	if tx.Table.Owned && c.writer.claimed != tx.Table.Name {
		if operations, err = c.claim(s, tx, operations); err != nil {
			return Result{}, err
		}
	}
	result, err := c.commitOperations(s, tx.Table, operations)
	if err == nil && tx.Table.Owned {
		c.writer.claimed = tx.Table.Name
	}
	return result, err
}

// claim sees to it that the table is claimed before anything in it is changed, and
// returns what is left to do. In one batch with the claim the kernel refuses to add
// base chains (nf_tables_addchain in net/netfilter/nf_tables_api.c).
func (c *Conn) claim(s *socket, tx *nft.Transaction, operations []nft.Operation) ([]nft.Operation, error) {
	claims := tx.ClaimsTable()
	if operations[0].Kind != nft.AddTable {
		claims = true // the writing socket is a new one
		operations = slices.Insert(operations, 0, nft.Operation{Kind: nft.AddTable})
	}
	if !claims || !slices.ContainsFunc(operations, addsBaseChain) {
		return operations, nil
	}
	_, err := c.commitOperations(s, tx.Table, operations[:1])
	return operations[1:], err
}

func addsBaseChain(op nft.Operation) bool { return op.Kind == nft.AddChain && op.Chain.Base != nil }

func (c *Conn) commitOperations(s *socket, table *nft.Table, operations []nft.Operation) (Result, error) {
	c.batch.begin(table, operations, c.batchLimit(s))
	defer c.batch.release()
	return c.commitBatches(s)
}

// withoutEmpty drops element operations without elements: the kernel would take
// such a delete as one of all elements.
func withoutEmpty(operations []nft.Operation) []nft.Operation {
	return slices.DeleteFunc(operations, func(op nft.Operation) bool {
		return op.Kind.IsOfElements() && len(op.Elements) == 0
	})
}

func (c *Conn) commitBatches(s *socket) (Result, error) {
	var total Result
	for !c.batch.done() {
		done, err := c.commitBatch(s)
		if err != nil && total.Operations > 0 && !errors.Is(err, ErrUncertain) {
			err = fmt.Errorf("%w: the first %d operations are committed, then: %w", ErrUncertain, total.Operations, err)
		}
		if err != nil {
			return total, err
		}
		total.Operations += done.Operations
		total.Bytes += done.Bytes
		if done.Generation != 0 {
			total.Generation = done.Generation
		}
	}
	return total, nil
}

// commitBatch sends the next batch and reads the answers.
func (c *Conn) commitBatch(s *socket) (Result, error) {
	b := &c.batch
	if !b.fill(s.seq + 1) {
		return Result{}, b.tooLarge()
	}
	s.seq = b.nextSeq()
	if err := s.send(b.buffer); err != nil {
		// The kernel takes a datagram whole or not at all.
		c.dropDead(err)
		return Result{}, fmt.Errorf("send batch of %d bytes: %w", len(b.buffer), err)
	}
	a := answers{firstSeq: b.firstSeq, lastSeq: b.nextSeq()}
	if err := a.collect(s); err != nil {
		c.dropDead(err)
		return Result{}, fmt.Errorf("%w: read answer to batch: %w", ErrUncertain, err)
	}
	switch {
	case len(a.failures) > 0:
		return Result{}, b.refusal(a.failures)
	case !a.acknowledged && a.generation == 0:
		return Result{}, fmt.Errorf("%w: the kernel's answer to the batch is lost%s", ErrUncertain, a.overrunText())
	}
	return Result{Generation: a.generation, Operations: b.operationsSent(), Bytes: len(b.buffer)}, nil
}

// dropDead closes the writing socket, unless the kernel was only short of memory.
func (c *Conn) dropDead(err error) {
	if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EMSGSIZE) {
		c.writer.drop() //nolint:errcheck // it is dead already
	}
}

// refusal turns the kernel's failures into one error: the first, and a few more.
func (b *batch) refusal(failures []failure) error {
	const shown = 5
	errs := make([]error, 0, shown)
	for _, f := range failures[:min(len(failures), shown)] {
		errs = append(errs, b.newError(f))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	if more := len(failures) - shown; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// failure is one refused message.
type failure struct {
	seq     uint32
	errno   unix.Errno
	offset  uint32 // of the attribute at fault in its message, 0 if not known
	message string
}

// answers is what the kernel says to one batch.
type answers struct {
	firstSeq, lastSeq uint32

	acknowledged bool
	generation   uint32
	failures     []failure
	overrun      bool // the receive buffer was full, and answers are lost
}

// collect reads all that is queued. The kernel has answered before the write
// returned.
func (a *answers) collect(s *socket) error {
	for {
		b, err := s.receive()
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			a.overrun = true
			continue
		case err != nil:
			return err
		}
		for {
			m, rest, ok := nextMessage(b)
			if !ok {
				break
			}
			a.add(&m)
			b = rest
		}
	}
}

func (a *answers) add(m *message) {
	if m.seq-a.firstSeq > a.lastSeq-a.firstSeq {
		return // an answer to an earlier batch
	}
	if m.typ == unix.NLMSG_ERROR {
		if f := parseFailure(m); f.errno != 0 {
			a.failures = append(a.failures, f)
		} else {
			a.acknowledged = true
		}
		return
	}
	if typ, _, attributes, ok := m.netfilter(); ok && typ == unix.NFT_MSG_NEWGEN {
		a.generation = parseGeneration(attributes).ID
	}
}

func (a *answers) overrunText() string {
	if a.overrun {
		return " (the receive buffer was full)"
	}
	return ""
}

// parseFailure reads an error message (struct nlmsgerr and the attributes of the
// extended ACK). Its errno is 0 if it is an acknowledgement.
func parseFailure(m *message) failure {
	f := failure{seq: m.seq, errno: unix.EIO}
	const sizeofErrno = 4
	if len(m.payload) < unix.SizeofNlMsgerr {
		return f
	}
	f.errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m.payload)))
	extended := unix.SizeofNlMsgerr
	if m.flags&unix.NLM_F_CAPPED == 0 { // the failed message is echoed whole
		length := binary.NativeEndian.Uint32(m.payload[sizeofErrno:])
		extended = sizeofErrno + int(min(length+3, uint32(len(m.payload)))&^3)
	}
	if m.flags&unix.NLM_F_ACK_TLVS == 0 || extended > len(m.payload) {
		return f
	}
	for typ, data := range attrs(m.payload[extended:]) {
		switch {
		case typ == unix.NLMSGERR_ATTR_MSG:
			f.message = string(trimNUL(data))
		case typ == unix.NLMSGERR_ATTR_OFFS && len(data) == 4:
			f.offset = binary.NativeEndian.Uint32(data)
		}
	}
	return f
}
