package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// attempt is one connection: when it began, when its handshake and the server's
// answer were complete, and who answered.
type attempt struct {
	began, shaken, answered time.Time
	backend                 netip.Addr
}

// connect opens a TCP connection from the calling thread's namespace, reads who
// answered and resets it, so that it leaves no TIME_WAIT. From a source of its
// own if that is valid. It uses plain system calls: the scheduler of Go would add
// its own delays to the kernel's.
func connect(dst netip.AddrPort, source netip.Addr, timeout time.Duration) (a attempt, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return a, fmt.Errorf("set SO_LINGER: %w", err)
	}
	if source.IsValid() {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return a, fmt.Errorf("bind to %s: %w", source, err)
		}
	}
	a.began = time.Now()
	deadline := a.began.Add(timeout)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: dst.Addr().As4(), Port: int(dst.Port())}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return a, fmt.Errorf("connect to %s: %w", dst, err)
	}
	if err := await(fd, unix.POLLOUT, deadline); err != nil {
		return a, fmt.Errorf("connect to %s: %w", dst, err)
	}
	if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		return a, fmt.Errorf("connect to %s: %w", dst, unix.Errno(errno))
	}
	a.shaken = time.Now()
	if err := await(fd, unix.POLLIN, deadline); err != nil {
		return a, fmt.Errorf("wait for an answer from %s: %w", dst, err)
	}
	var buf [128]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return a, fmt.Errorf("read from %s: %w", dst, err)
	}
	a.answered = time.Now()
	name, _, _ := bytes.Cut(buf[:n], []byte(" "))
	a.backend, err = netip.ParseAddr(string(name))
	return a, err
}

// await waits until a socket is ready.
func await(fd int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		timeout := unix.NsecToTimespec(left.Nanoseconds())
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: events}}, &timeout, nil)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// rest sleeps on the calling thread.
func rest(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil) // shorter after a signal, which is as good
}
