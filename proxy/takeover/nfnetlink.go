package takeover

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nfnetlink is a socket of one use: closing it makes the kernel finish what it
// destroys in the background, so that nothing refers to IP sets and counters any
// more (net/netfilter/nf_tables_api.c, nft_rcv_nl_event).
type nfnetlink struct {
	conn *netlink.Conn
	in   []byte
}

func dialNfnetlink() (*nfnetlink, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	// Failed messages do not come back whole.
	if err := conn.SetOption(netlink.CapAcknowledge, true); err != nil {
		return nil, errors.Join(fmt.Errorf("set up netfilter netlink socket: %w", err), conn.Close())
	}
	return &nfnetlink{conn: conn, in: make([]byte, 64<<10)}, nil
}

// message makes a message of an nfnetlink subsystem: its header of family, version
// 0 and resource id, and attributes.
func message(typ uint16, flags netlink.HeaderFlags, f family, resource uint16, attributes ...netlink.Attribute) netlink.Message {
	data := binary.BigEndian.AppendUint16([]byte{byte(f), 0}, resource)
	list, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		panic(fmt.Sprintf("takeover: attributes of our own: %v", err)) // too long: they are names of the kernel's
	}
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   append(data, list...),
	}
}

// nfTables makes a message of nf_tables.
func nfTables(typ uint16, flags netlink.HeaderFlags, f family, attributes ...netlink.Attribute) netlink.Message {
	return message(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, f, 0, attributes...)
}

func text(typ uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: append([]byte(s), 0)}
}

func number32(typ uint16, n uint32) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: binary.BigEndian.AppendUint32(nil, n)}
}

func number64(typ uint16, n uint64) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: binary.BigEndian.AppendUint64(nil, n)}
}

// ask sends a request, which must have the flag Dump or Acknowledge, and calls each
// for every answer's attributes. It reads into a large buffer: the kernel then
// fills datagrams up to 32 KiB, and it walks from the front for each one.
func (s *nfnetlink) ask(m netlink.Message, each func(*netlink.AttributeDecoder) error) error {
	sent, err := s.conn.Send(m)
	if err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	for {
		answers, err := s.receive()
		if err != nil {
			return err
		}
		for len(answers) > 0 {
			a, rest, err := nextAnswer(answers)
			switch {
			case err != nil:
				return err
			case a.seq != sent.Header.Sequence:
				return errors.New("read answer: it is one to something else")
			case a.end:
				return a.result()
			case a.flags&unix.NLM_F_DUMP_INTR != 0:
				return errChanged
			}
			if err := decode(a.attributes, each); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			answers = rest
		}
	}
}

func decode(attributes []byte, each func(*netlink.AttributeDecoder) error) error {
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	if err := each(ad); err != nil {
		return err
	}
	return ad.Err()
}

// generation numbers the state of nf_tables in this namespace.
func (s *nfnetlink) generation() (id uint32, err error) {
	err = s.ask(nfTables(unix.NFT_MSG_GETGEN, netlink.Acknowledge, 0), func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				id = ad.Uint32()
			}
		}
		return nil
	})
	return id, err
}

// nfnlBatchGenID is NFNL_BATCH_GENID (uapi/linux/netfilter/nfnetlink.h).
const nfnlBatchGenID = 1

// change is one message of a transaction, and what it is about.
type change struct {
	object  string
	message netlink.Message
}

// commit makes changes in one transaction, if the generation is still the one
// given (0: whichever it is). The last message asks for an acknowledgement, the
// others answer only if they fail.
func (s *nfnetlink) commit(generation uint32, changes []change) error {
	var expected []netlink.Attribute
	if generation != 0 {
		expected = append(expected, number32(nfnlBatchGenID, generation))
	}
	batch := []netlink.Message{message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES, expected...)}
	for _, c := range changes {
		batch = append(batch, c.message)
	}
	batch[len(batch)-1].Header.Flags |= netlink.Acknowledge
	batch = append(batch, message(unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES))
	sent, err := s.conn.SendMessages(batch)
	if err != nil {
		return fmt.Errorf("send transaction: %w", err)
	}
	return s.result(sent, changes)
}

// result reads the answers to a transaction up to the acknowledgement of its last
// change. An answer to the batch's begin is about the whole transaction.
func (s *nfnetlink) result(sent []netlink.Message, changes []change) error {
	var failed error
	for {
		answers, err := s.receive()
		if err != nil {
			return err
		}
		for len(answers) > 0 {
			a, rest, err := nextAnswer(answers)
			at := a.seq - sent[0].Header.Sequence
			switch {
			case err != nil:
				return err
			case at > uint32(len(changes)) || !a.end:
				return errors.New("read result of transaction: it is one of something else")
			case a.errno == 0 || failed != nil:
			case at == 0:
				failed = collision(a.errno)
			default:
				failed = fmt.Errorf("%s: %w", changes[at-1].object, collision(a.errno))
			}
			if at == 0 || at == uint32(len(changes)) {
				return failed
			}
			answers = rest
		}
	}
}

// answer is one received message.
type answer struct {
	seq        uint32
	flags      uint16
	attributes []byte
	end        bool       // it is an acknowledgement, an error, or the end of a dump
	errno      unix.Errno // of the end
}

func (a *answer) result() error {
	if a.errno != 0 {
		return a.errno
	}
	return nil
}

// sizeofNfgenmsg is the length of nfnetlink's header, and of the errno at an end.
const sizeofNfgenmsg = 4

func nextAnswer(b []byte) (a answer, rest []byte, err error) {
	const header = unix.SizeofNlMsghdr
	if len(b) < header+sizeofNfgenmsg {
		return a, nil, errors.New("read answer: it is cut off")
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < header+sizeofNfgenmsg || n > len(b) {
		return a, nil, errors.New("read answer: its length is impossible")
	}
	typ := binary.NativeEndian.Uint16(b[4:])
	a.flags, a.seq = binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:])
	a.attributes = b[header+sizeofNfgenmsg : n]
	if a.end = typ == unix.NLMSG_ERROR || typ == unix.NLMSG_DONE; a.end {
		a.errno = unix.Errno(-int32(binary.NativeEndian.Uint32(b[header:])))
	}
	return a, b[min((n+3)&^3, len(b)):], nil
}

// collision adds errChanged to errors that say that another writer was there
// between reading and writing.
func collision(errno unix.Errno) error {
	switch errno {
	case unix.ERESTART, unix.ENOENT, unix.EBUSY:
		return fmt.Errorf("%w (%w)", errChanged, errno)
	}
	return errno
}

// receive returns a datagram of answers. It does not wait: the kernel answers
// within the call that sends a request or reads the part of a dump before.
func (s *nfnetlink) receive() ([]byte, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	var n int
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		for ok := false; !ok; ok = !errors.Is(readErr, unix.EINTR) {
			n, readErr = unix.Read(int(fd), s.in)
		}
		return true
	})
	if err = errors.Join(err, readErr); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return s.in[:n], nil
}

func (s *nfnetlink) close() { s.conn.Close() }
