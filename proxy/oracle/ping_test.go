package oracle

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// ping sends one echo request.
func ping(h *testnet.Host, to netip.Addr, timeout time.Duration) testnet.Outcome {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if !to.Is4() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := h.DialContext(context.Background(), network, to.String())
	if err != nil {
		return testnet.Outcome{Kind: testnet.Broken, Err: err}
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return outcome(err)
	}
	// Type, code, checksum (of IPv4: of this packet; of IPv6 the kernel's work), identifier, sequence number.
	packet := []byte{request, 0, 0, 0, 0, 0, 0, 1}
	if to.Is4() {
		packet[2], packet[3] = 0xf7, 0xfe
	}
	if _, err := conn.Write(packet); err != nil && !errors.Is(err, unix.EPERM) {
		return outcome(err)
	}
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		switch {
		case err != nil:
			return outcome(err)
		case n > 0 && buf[0] == reply || to.Is4() && n > 20 && buf[20] == reply:
			return testnet.Outcome{Kind: testnet.Answered}
		}
	}
}

func outcome(err error) testnet.Outcome {
	kind := testnet.Broken
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		kind = testnet.Refused
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = testnet.Silent
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		kind = testnet.Unreachable
	}
	return testnet.Outcome{Kind: kind, Err: err}
}
