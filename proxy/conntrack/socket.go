package conntrack

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readBuffer takes any datagram: the kernel fills dumps up to 32 KiB, if the
// reader's buffer has shown to be as large.
const readBuffer = 64 << 10

// socket is one netlink socket, with all that a request needs allocated once.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	seq  uint32

	write, read func(fd uintptr) bool // what raw runs, on the fields below
	out, in     []byte
	n           int
	err         error
}

func openSocket(netns int) (*socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	s := &socket{conn: conn, in: make([]byte, readBuffer)}
	// The capped ACK keeps the kernel from sending back the messages that failed.
	if err = conn.SetOption(netlink.CapAcknowledge, true); err == nil {
		s.raw, err = conn.SyscallConn()
	}
	if err != nil {
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

func (s *socket) nextSeq() uint32 {
	s.seq++
	return s.seq
}

// send writes messages with one system call.
func (s *socket) send(b []byte) error {
	s.out = b
	err := s.raw.Write(s.write)
	s.out = nil
	if err == nil {
		err = s.err
	}
	if err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// receive returns one datagram, which is valid until the next. It does not wait:
// when nothing is there, an answer was lost and the error is EAGAIN.
func (s *socket) receive() ([]byte, error) {
	err := s.raw.Read(s.read)
	if err == nil {
		err = s.err
	}
	if err != nil {
		return nil, fmt.Errorf("receive answer: %w", err)
	}
	return s.in[:s.n], nil
}

func (s *socket) close() { s.conn.Close() }
