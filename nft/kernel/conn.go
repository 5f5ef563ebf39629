package kernel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Options say where and how a Conn works.
type Options struct {
	// NetNS is the file descriptor of a network namespace, 0 for the one the
	// caller is in. The Conn keeps its own copy. To enter another needs
	// CAP_SYS_ADMIN.
	NetNS int
	// MaxBatchBytes bounds a batch, 0 for as much as the socket's buffer allows. A
	// larger transaction is cut and is then not atomic.
	MaxBatchBytes int
}

// Conn is a connection to nf_tables in one network namespace. Commit belongs to
// one goroutine and the reading methods to one, the same or another.
//
// A table that is owned belongs to the writing socket: while the Conn lives, no
// other process can change it, and when it is closed a table without the flag
// persist goes with it. The first commit to an owned table claims it, and so does
// the first after a lost socket.
type Conn struct {
	options Options
	writer  lastingSocket
	reader  lastingSocket
	batch   batch
	request buffer
}

// Dial opens the sockets, and asks the kernel once, so that what is missing (a
// kernel of 5.13 or newer, nf_tables, CAP_NET_ADMIN) is told here.
func Dial(o Options) (*Conn, error) {
	if err := checkRelease(kernelRelease()); err != nil {
		return nil, err
	}
	c := &Conn{options: o}
	if o.NetNS != 0 {
		fd, err := unix.FcntlInt(uintptr(o.NetNS), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("duplicate file descriptor %d of network namespace: %w", o.NetNS, err)
		}
		c.options.NetNS = fd
	}
	c.writer.netns, c.reader.netns = c.options.NetNS, c.options.NetNS
	if err := c.probe(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// probe opens both sockets and reads the generation.
func (c *Conn) probe() error {
	_, err := c.writer.open()
	if err == nil {
		_, err = c.Generation()
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.EPERM:
		return fmt.Errorf("use nf_tables: CAP_NET_ADMIN is missing: %w", errno)
	case unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT:
		return fmt.Errorf("use nf_tables: the kernel has none, load its module nf_tables: %w", errno)
	}
	return err
}

// Close closes the sockets. The Conn can't be used any more.
func (c *Conn) Close() error {
	if c.writer.closed {
		return nil
	}
	c.writer.closed, c.reader.closed = true, true
	err := errors.Join(c.writer.drop(), c.reader.drop())
	if c.options.NetNS != 0 {
		err = errors.Join(err, unix.Close(c.options.NetNS))
	}
	return err
}

func (c *Conn) batchLimit(s *socket) int {
	if c.options.MaxBatchBytes > 0 {
		return min(c.options.MaxBatchBytes, s.maxBatch)
	}
	return s.maxBatch
}

// lastingSocket is a socket that is opened again when it was lost. (To close one
// after a delete takes the kernel 12 to 16 ms, so none is opened per request.)
type lastingSocket struct {
	netns  int
	closed bool
	socket *socket

	// claimed is the owned table that belongs to this socket.
	claimed string
}

func (l *lastingSocket) open() (*socket, error) {
	switch {
	case l.closed:
		return nil, os.ErrClosed
	case l.socket != nil:
		return l.socket, nil
	}
	s, err := openSocket(l.netns)
	if err != nil {
		return nil, err
	}
	l.socket = s
	return s, nil
}

// drop closes the socket; the next open opens another.
func (l *lastingSocket) drop() error {
	if l.socket == nil {
		return nil
	}
	s := l.socket
	l.socket, l.claimed = nil, ""
	return s.close()
}
