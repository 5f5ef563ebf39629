package oracle

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// seen is a packet that came to a host: that a backend got it, although its
// answer took another way than by the node that translated it, shows only there.
type seen struct {
	protocol model.Protocol
	from, to netip.AddrPort
}

// sniffer notes the packets that come to hosts.
type sniffer struct {
	mu   sync.Mutex
	seen map[seen]struct{}
}

// newSniffer listens on all devices of the hosts until the test ends.
func newSniffer(t *testing.T, hosts ...*testnet.Host) *sniffer {
	t.Helper()
	s := &sniffer{seen: map[seen]struct{}{}}
	var tasks sync.WaitGroup
	var fds []int
	for _, h := range hosts {
		var fd int
		err := h.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
			return err
		})
		if err == nil { // a short wait, to see the end of the test
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
		}
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		}
		if err != nil {
			t.Fatalf("listen for packets on %s: %v", h.Name(), err)
		}
		fds = append(fds, fd)
	}
	done := make(chan struct{})
	for _, fd := range fds {
		tasks.Go(func() { s.listen(fd, done) })
	}
	t.Cleanup(func() {
		close(done)
		tasks.Wait()
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	return s
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (s *sniffer) listen(fd int, done chan struct{}) {
	buf := make([]byte, 256)
	for {
		select {
		case <-done:
			return
		default:
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if p, ok := parse(buf[:n]); ok {
			s.mu.Lock()
			s.seen[p] = struct{}{}
			s.mu.Unlock()
		}
	}
}

// parse reads addresses and ports of an IP packet without options.
func parse(b []byte) (p seen, ok bool) {
	const header4, header6, ports = 20, 40, 4
	var from, to netip.Addr
	switch {
	case len(b) >= header4+ports && b[0] == 0x45:
		p.protocol = model.Protocol(b[9])
		from, to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		b = b[header4:]
	case len(b) >= header6+ports && b[0]>>4 == 6:
		p.protocol = model.Protocol(b[6])
		from, to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		b = b[header6:]
	default:
		return p, false
	}
	p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	return p, p.protocol == model.TCP || p.protocol == model.UDP || p.protocol == model.SCTP
}

// sawAny reports to which of the places a packet from a client came.
func (s *sniffer) sawAny(protocol model.Protocol, from netip.AddrPort, places []netip.AddrPort) (to netip.AddrPort, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, to := range places {
		if _, ok := s.seen[seen{protocol, from, to}]; ok {
			return to, true
		}
	}
	return netip.AddrPort{}, false
}
