package controlplane

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enterNamespace binds the calling goroutine to a thread of its own and moves it
// into a network namespace. The goroutine must end there: its thread ends with
// it, so that no other goroutine ever runs in the namespace. Zero stays.
func enterNamespace(fd int) error {
	runtime.LockOSThread()
	if fd == 0 {
		return nil
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace (descriptor %d): %w", fd, err)
	}
	return nil
}

// inNamespace runs f on a thread in a network namespace.
func inNamespace(fd int, f func() error) error {
	done := make(chan error)
	go func() {
		err := enterNamespace(fd)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// reservePort takes a free port of the API server's address by a socket that is
// bound and never listens. The API server shares it (SO_REUSEPORT), also after a
// restart, and nobody else can take it meanwhile.
func (cp *ControlPlane) reservePort() error {
	addr := cp.options.Address
	err := inNamespace(cp.options.Namespace, func() error {
		fd, err := bindFreePort(addr)
		if err != nil {
			return err
		}
		cp.port = os.NewFile(uintptr(fd), "reserved port")
		local, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		switch sa := local.(type) {
		case *unix.SockaddrInet4:
			cp.server = netip.AddrPortFrom(addr, uint16(sa.Port))
		case *unix.SockaddrInet6:
			cp.server = netip.AddrPortFrom(addr, uint16(sa.Port))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reserve a port of %s: %w", addr, err)
	}
	return nil
}

func bindFreePort(addr netip.Addr) (fd int, err error) {
	var family int
	var sockaddr unix.Sockaddr
	if addr.Is4() {
		family, sockaddr = unix.AF_INET, &unix.SockaddrInet4{Addr: addr.As4()}
	} else {
		family, sockaddr = unix.AF_INET6, &unix.SockaddrInet6{Addr: addr.As16()}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
		err = unix.Bind(fd, sockaddr)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}
