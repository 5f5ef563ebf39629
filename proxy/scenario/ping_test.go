package scenario

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// ping sends an ICMP echo request. A reply counts as an answer of nobody.
func ping(from *testnet.Host, to netip.Addr, opts testnet.ProbeOptions) testnet.Outcome {
	err := exchangeEcho(from, to, opts.Timeout)
	o := testnet.Outcome{Err: err}
	switch {
	case err == nil:
		o.Kind, o.Server = testnet.Answered, "echo"
	case errors.Is(err, unix.ECONNREFUSED):
		o.Kind = testnet.Refused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.EPERM):
		o.Kind = testnet.Silent
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		o.Kind = testnet.Unreachable
	default:
		o.Kind = testnet.Broken
	}
	return o
}

// Types of ICMP messages (RFC 792, RFC 4443). The kernel fills in the checksum
// of ICMPv6.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

func exchangeEcho(from *testnet.Host, to netip.Addr, timeout time.Duration) error {
	network, reply := "ip4:icmp", byte(echoReply4)
	request := []byte{echoRequest4, 0, 0, 0, 0x12, 0x34, 0, 1}
	request[2], request[3] = 0xe5, 0xca // ^(0x0800 + 0x1234 + 0x0001)
	if to.Is6() {
		network, reply = "ip6:ipv6-icmp", echoReply6
		request[0], request[2], request[3] = echoRequest6, 0, 0
	}
	conn, err := from.DialContext(context.Background(), network, to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	// A local process whose packet a rule rejects gets EPERM at once, and the
	// ICMP error behind it.
	if _, err := conn.Write(request); err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.(*net.IPConn).ReadFromIP(buf) // Read would leave the IPv4 header in
		if err != nil {
			return err
		}
		if n > 0 && buf[0] == reply {
			return nil
		}
	}
}
