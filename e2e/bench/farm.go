package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// farmPrefix holds the addresses of all endpoints. One host has all of them.
var farmPrefix = netip.MustParsePrefix("10.128.0.0/9")

// backendPort is where every endpoint listens.
const backendPort = 8080

// backendAddr is the address of the n-th endpoint.
func backendAddr(n int) netip.Addr {
	n += 1 << 8
	return netip.AddrFrom4([4]byte{10, 128 + byte(n>>16), byte(n >> 8), byte(n)})
}

// spareAddr is the n-th address that no Service has from the start.
func spareAddr(n int) netip.Addr { return backendAddr(5<<20 + n) }

// serveFarm makes a host answer at every address of farmPrefix: the kernel takes
// them all as its own (a local route), and one listener accepts for all. It tells
// each client the address that the client's packets reached.
func serveFarm(host *testnet.Host) error {
	if _, err := host.Run("ip", "route", "add", "local", farmPrefix.String(), "dev", "lo"); err != nil {
		return err
	}
	if err := host.SetSysctl("net/core/somaxconn", "65535"); err != nil {
		return err
	}
	listener, err := host.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", backendPort))
	if err != nil {
		return err
	}
	for range 2 {
		go acceptAll(listener)
	}
	return nil
}

func acceptAll(listener net.Listener) {
	var buf []byte
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // the host has closed it
		}
		local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
		remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		buf = fmt.Appendf(buf[:0], "%s %s\n", local.Addr().Unmap(),
			netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
		_, _ = conn.Write(buf) // a client that has gone needs no answer
		_ = conn.(*net.TCPConn).SetLinger(0)
		go closeAfterClient(conn)
	}
}

// closeAfterClient leaves the end to the client, whose reset carries no state.
func closeAfterClient(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
}
