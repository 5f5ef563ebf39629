package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The sizes of a socket's buffers, in bytes. The kernel doubles them and
// allocates nothing in advance. Where the capability for SO_SNDBUFFORCE is
// missing (CAP_NET_ADMIN in the first user namespace) it grants at most
// net.core.wmem_max, and batches are cut to that.
const (
	sendBuffer    = 256 << 20
	receiveBuffer = 16 << 20
	// readBuffer takes any datagram: the kernel fills dumps up to 32 KiB, if the
	// reader's buffer has shown to be as large.
	readBuffer = 128 << 10
)

// socket is one netlink socket, with all that a request needs allocated once.
type socket struct {
	conn     *netlink.Conn
	raw      syscall.RawConn
	portID   uint32
	maxBatch int // bytes that one write may have
	seq      uint32

	write, read func(fd uintptr) bool // what raw runs, on the fields below
	out         []byte
	in          []byte
	n           int
	err         error
}

func openSocket(netns int) (*socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	s := &socket{conn: conn, portID: conn.PID(), in: make([]byte, readBuffer)}
	if err := s.configure(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("set up netfilter netlink socket: %w", err)
	}
	s.write = func(fd uintptr) bool {
		s.n, s.err = retryInterrupted(int(fd), s.out, unix.Write)
		return true
	}
	s.read = func(fd uintptr) bool {
		s.n, s.err = retryInterrupted(int(fd), s.in, unix.Read)
		return true
	}
	return s, nil
}

func retryInterrupted(fd int, b []byte, call func(int, []byte) (int, error)) (int, error) {
	for {
		n, err := call(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// configure sets the options. The extended ACK says which attribute of a message
// is wrong, and the capped ACK keeps the kernel from sending failed messages of
// 64 KB back whole, which would fill the receive buffer.
func (s *socket) configure() (err error) {
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return err
	}
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge} {
		if err := s.conn.SetOption(o, true); err != nil {
			return err
		}
	}
	if err := s.conn.SetReadBuffer(receiveBuffer); err != nil {
		return err
	}
	return s.setWriteBuffer(sendBuffer)
}

// setWriteBuffer asks for a buffer of that size, and notes what the kernel grants.
func (s *socket) setWriteBuffer(size int) error {
	if err := s.conn.SetWriteBuffer(size); err != nil {
		return err
	}
	granted, err := s.conn.WriteBuffer()
	s.maxBatch = granted - 32 // net/netlink/af_netlink.c, netlink_sendmsg
	return err
}

// nextSeq numbers a message.
func (s *socket) nextSeq() uint32 {
	s.seq++
	return s.seq
}

// send writes b with one system call.
func (s *socket) send(b []byte) error {
	s.out = b
	err := s.raw.Write(s.write)
	s.out = nil
	if err != nil {
		return err
	}
	return s.err
}

// receive returns one datagram, which is valid until the next. It does not wait:
// when nothing is there the error is EAGAIN.
func (s *socket) receive() ([]byte, error) {
	if err := s.raw.Read(s.read); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.in[:s.n], nil
}

// await waits for a datagram and returns it.
func (s *socket) await() ([]byte, error) {
	var n int
	var err error
	readErr := s.raw.Read(func(fd uintptr) bool {
		n, err = retryInterrupted(int(fd), s.in, unix.Read)
		return !errors.Is(err, unix.EAGAIN)
	})
	if readErr != nil {
		if errors.Is(readErr, os.ErrDeadlineExceeded) {
			return nil, os.ErrDeadlineExceeded
		}
		return nil, readErr
	}
	return s.in[:max(n, 0)], err
}

// until makes await end with the context. The result undoes that.
func (s *socket) until(ctx context.Context) (undo func() bool) {
	_ = s.conn.SetReadDeadline(time.Time{})                                           // which an earlier context may have left
	return context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed socket ends the read too
}

func (s *socket) close() error { return s.conn.Close() }

// beginMessage appends the headers of an nf_tables message and returns where it
// begins; endMessage sets its length.
func (b *buffer) beginMessage(typ, flags uint16, seq uint32) (at int) {
	return b.beginNetfilter(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, seq, unix.NFPROTO_INET, 0)
}

// beginNetfilter appends a header of netlink (host order) and of nfnetlink
// (family, version 0, resource id in big endian).
func (b *buffer) beginNetfilter(typ, flags uint16, seq uint32, family byte, resource uint16) (at int) {
	at = len(*b)
	*b = binary.NativeEndian.AppendUint32(*b, 0)
	*b = binary.NativeEndian.AppendUint16(*b, typ)
	*b = binary.NativeEndian.AppendUint16(*b, flags|unix.NLM_F_REQUEST)
	*b = binary.NativeEndian.AppendUint32(*b, seq)
	*b = binary.NativeEndian.AppendUint32(*b, 0)
	*b = append(*b, family, 0)
	*b = binary.BigEndian.AppendUint16(*b, resource)
	return at
}

func (b *buffer) endMessage(at int) {
	binary.NativeEndian.PutUint32((*b)[at:], uint32(len(*b)-at))
}

// message is one received netlink message.
type message struct {
	typ, flags  uint16
	seq, portID uint32
	payload     []byte
}

// nextMessage splits the first message off b. ok is false at the end or if b is
// malformed.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr || n > len(b) {
		return m, nil, false
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), portID: binary.NativeEndian.Uint32(b[12:]),
		payload: b[unix.SizeofNlMsghdr:n],
	}
	return m, b[min((n+3)&^3, len(b)):], true
}

// sizeofNfgenmsg is the length of nfnetlink's header.
const sizeofNfgenmsg = 4

// netfilter splits an nf_tables message: its type, the low 16 bits of the
// generation in which it was made, and its attributes. ok is false for a message
// of another subsystem or one that is too short.
func (m *message) netfilter() (typ, generation uint16, attributes []byte, ok bool) {
	if m.typ>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.payload) < sizeofNfgenmsg {
		return 0, 0, nil, false
	}
	return m.typ & 0xff, binary.BigEndian.Uint16(m.payload[2:]), m.payload[sizeofNfgenmsg:], true
}
