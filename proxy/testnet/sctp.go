package testnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SCTP here is as much of RFC 9260 as it takes to open an association and drop
// it, over raw IP sockets: it works on kernels that translate and track SCTP but
// have no SCTP sockets. The server's line travels as the state cookie.

// chunkType is the type of an SCTP chunk (RFC 9260, section 3.2).
type chunkType uint8

const (
	chunkInit    chunkType = 1
	chunkInitAck chunkType = 2
	chunkAbort   chunkType = 6
)

const (
	sctpHeaderLen    = 12
	sctpInitLen      = 20 // chunk header and fixed fields
	paramStateCookie = 7
)

// sctpPacket is an SCTP packet with one chunk.
type sctpPacket struct {
	SourcePort, DestPort uint16
	Tag                  uint32 // verification tag of the header
	Type                 chunkType
	InitiateTag          uint32 // of an INIT or INIT ACK
	Cookie               []byte // of an INIT ACK
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// marshal makes the packet as it goes behind the IP header.
func (p sctpPacket) marshal() []byte {
	b := make([]byte, 8, 128)
	binary.BigEndian.PutUint16(b[0:], p.SourcePort)
	binary.BigEndian.PutUint16(b[2:], p.DestPort)
	binary.BigEndian.PutUint32(b[4:], p.Tag)
	b = append(b, 0, 0, 0, 0) // checksum
	b = append(b, p.chunk()...)
	// The checksum is the one field in the other byte order (RFC 9260, appendix A).
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, castagnoli))
	return b
}

func (p sctpPacket) chunk() []byte {
	if p.Type == chunkAbort {
		return []byte{byte(p.Type), 0, 0, 4}
	}
	b := binary.BigEndian.AppendUint32([]byte{byte(p.Type), 0, 0, 0}, p.InitiateTag)
	b = binary.BigEndian.AppendUint32(b, 65536) // receiver window
	b = binary.BigEndian.AppendUint16(b, 1)     // outbound streams
	b = binary.BigEndian.AppendUint16(b, 1)     // inbound streams
	b = binary.BigEndian.AppendUint32(b, 1)     // first sequence number
	if p.Type == chunkInitAck {
		b = binary.BigEndian.AppendUint16(b, paramStateCookie)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(p.Cookie)))
		b = append(b, p.Cookie...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

var errNotSCTP = errors.New("parse SCTP packet: not one of ours")

func parseSCTP(b []byte) (sctpPacket, error) {
	if len(b) < sctpHeaderLen+4 {
		return sctpPacket{}, errNotSCTP
	}
	p := sctpPacket{
		SourcePort: binary.BigEndian.Uint16(b[0:]),
		DestPort:   binary.BigEndian.Uint16(b[2:]),
		Tag:        binary.BigEndian.Uint32(b[4:]),
		Type:       chunkType(b[sctpHeaderLen]),
	}
	sum := binary.LittleEndian.Uint32(b[8:])
	clear(b[8:12])
	if crc32.Checksum(b, castagnoli) != sum {
		return sctpPacket{}, fmt.Errorf("parse SCTP packet: checksum %08x is wrong", sum)
	}
	chunk := b[sctpHeaderLen:]
	switch p.Type {
	case chunkInit, chunkInitAck:
		if len(chunk) < sctpInitLen {
			return sctpPacket{}, errNotSCTP
		}
		p.InitiateTag = binary.BigEndian.Uint32(chunk[4:])
	}
	if p.Type == chunkInitAck {
		param := chunk[sctpInitLen:]
		if len(param) < 4 || binary.BigEndian.Uint16(param) != paramStateCookie {
			return sctpPacket{}, errNotSCTP
		}
		n := int(binary.BigEndian.Uint16(param[2:]))
		if n < 4 || n > len(param) {
			return sctpPacket{}, errNotSCTP
		}
		p.Cookie = param[4:n]
	}
	return p, nil
}

// rawNetwork names raw IP sockets of protocol SCTP, of an address's family.
func rawNetwork(a netip.Addr) string {
	if familyOf(a) == IPv4 {
		return "ip4:132"
	}
	return "ip6:132"
}

// listenSCTP answers each INIT to a port with an INIT ACK. INITs to other ports
// of the address are left to other servers: nobody refuses them.
func (s *Server) listenSCTP(h *Host, at netip.AddrPort) error {
	conn, err := h.ListenPacket(rawNetwork(at.Addr()), at.Addr().String())
	if err != nil {
		return err
	}
	s.hold(conn)
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			init, err := parseSCTP(buf[:n])
			if err != nil || init.Type != chunkInit || init.DestPort != at.Port() {
				continue
			}
			s.hits.Add(1)
			conn.WriteTo(s.initAck(init, from).marshal(), from) //nolint:errcheck // the client sees that nothing comes
		}
	})
	return nil
}

func (s *Server) initAck(init sctpPacket, from net.Addr) sctpPacket {
	addr, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
	return sctpPacket{
		SourcePort:  init.DestPort,
		DestPort:    init.SourcePort,
		Tag:         init.InitiateTag,
		Type:        chunkInitAck,
		InitiateTag: randomTag(),
		Cookie:      greeting(s.name, netip.AddrPortFrom(addr, init.SourcePort)),
	}
}

func randomTag() uint32 { return rand.Uint32() | 1 } // never 0

// errSCTPAbort is how a server's ABORT is told.
var errSCTPAbort = errors.New("association aborted by the peer")

// probeSCTP sends one INIT, waits for the INIT ACK, and ends the association
// with an ABORT, so that its connection-tracking entry closes.
func (h *Host) probeSCTP(dst netip.AddrPort, opts ProbeOptions) (answer, error) {
	port := opts.Source.Port()
	if port == 0 {
		port = uint16(32768 + rand.IntN(28000))
	}
	conn, err := h.dialRaw(dst.Addr(), opts.Source.Addr())
	if err != nil {
		return answer{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost
	local, _ := netip.AddrFromSlice(conn.LocalAddr().(*net.IPAddr).IP)
	a := answer{source: netip.AddrPortFrom(local.Unmap(), port)}

	init := sctpPacket{SourcePort: port, DestPort: dst.Port(), Type: chunkInit, InitiateTag: randomTag()}
	if err := conn.SetDeadline(time.Now().Add(opts.Timeout)); err != nil {
		return a, err
	}
	if err := sendInit(conn, init); err != nil {
		return a, err
	}
	ack, err := awaitInitAck(conn, init)
	if err != nil {
		return a, err
	}
	abort := sctpPacket{SourcePort: port, DestPort: dst.Port(), Type: chunkAbort, Tag: ack.InitiateTag}
	if err := send(conn, abort.marshal()); err != nil {
		return a, err
	}
	a.line = ack.Cookie
	return a, nil
}

// dialRaw opens a raw socket connected to an address: it hears ICMP errors.
func (h *Host) dialRaw(dst, source netip.Addr) (*net.IPConn, error) {
	d := net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
		var err error
		// It hears what comes for all others as well.
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
		return errors.Join(failed, err, hearAllErrors(network, address, c))
	}}
	if source.IsValid() {
		d.LocalAddr = &net.IPAddr{IP: source.AsSlice()}
	}
	conn, err := h.dialWith(context.Background(), &d, rawNetwork(dst), dst.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.IPConn), nil
}

func awaitInitAck(conn *net.IPConn, init sctpPacket) (sctpPacket, error) {
	buf := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFromIP(buf) // Read would leave the IPv4 header in
		if isErrno(err) {
			if err := ownError(conn, init); err != nil {
				return sctpPacket{}, err
			}
			continue
		}
		if err != nil {
			return sctpPacket{}, err
		}
		p, err := parseSCTP(buf[:n])
		if err != nil || p.DestPort != init.SourcePort || p.SourcePort != init.DestPort || p.Tag != init.InitiateTag {
			continue
		}
		switch p.Type {
		case chunkInitAck:
			return p, nil
		case chunkAbort:
			return sctpPacket{}, errSCTPAbort
		}
	}
}

// sendInit sends the INIT, in spite of errors that came for others' packets: each write
// reports and clears one.
func sendInit(conn *net.IPConn, init sctpPacket) (err error) {
	for range 100 {
		if err = send(conn, init.marshal()); !isErrno(err) {
			break
		}
	}
	return err
}

func isErrno(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && !errno.Timeout()
}

// ownError takes ICMP errors from the socket's queue until one is about this INIT: a
// raw socket also hears those about others' packets to the same address. It is nil if
// there is none.
func ownError(conn *net.IPConn, init sctpPacket) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var own error
	failed := raw.Control(func(fd uintptr) {
		var packet, control [512]byte
		for own == nil {
			n, oobn, _, _, err := unix.Recvmsg(int(fd), packet[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return // the queue is empty
			}
			if n >= 4 && binary.BigEndian.Uint16(packet[0:]) == init.SourcePort && binary.BigEndian.Uint16(packet[2:]) == init.DestPort {
				own = icmpError(control[:oobn])
			}
		}
	})
	return errors.Join(failed, own)
}

// icmpError reads the error of a struct sock_extended_err, whose first field it is (ip(7),
// IP_RECVERR).
func icmpError(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("read the socket's error queue: %w", err)
	}
	for _, m := range messages {
		if t := m.Header.Type; (t == unix.IP_RECVERR || t == unix.IPV6_RECVERR) && len(m.Data) >= 4 {
			return unix.Errno(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return errors.New("read the socket's error queue: an entry without error")
}
