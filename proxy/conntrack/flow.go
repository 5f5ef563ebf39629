package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Attributes of conntrack messages (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25
	ctaStatusMask = 26

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3
)

// statusSeenReply is the bit of the status of a flow with packets in both directions
// (include/uapi/linux/netfilter/nf_conntrack_common.h).
const statusSeenReply = 1 << 1

// flow is one entry of conntrack. The slices lie in the buffer it was read into.
type flow struct {
	family      family
	protocol    model.Protocol
	destination target        // of the original direction: what the client sends to
	source      model.Backend // of the reply direction: who answers
	answered    bool

	tuple []byte // the original tuple, not empty
	id    []byte // 4 bytes
	zone  []byte // 2 bytes; none in the default zone
}

// parse reads the attributes of a conntrack message. It reports false if they
// are not those of a flow that could be named to the kernel again: such a one is
// nothing to delete. It allocates nothing.
func (f *flow) parse(fam family, attributes []byte) bool {
	*f = flow{family: fam}
	var original, reply tuple
	for a := attributes; len(a) > 0; {
		typ, data, rest, ok := nextAttribute(a)
		if !ok {
			return false
		}
		a = rest
		switch typ {
		case ctaTupleOrig:
			f.tuple, original = data, tuple{}
			ok = original.parse(data)
		case ctaTupleReply:
			ok = reply.parse(data)
		case ctaStatus:
			if ok = len(data) == 4; ok {
				f.answered = binary.BigEndian.Uint32(data)&statusSeenReply != 0
			}
		case ctaID:
			f.id = data
			ok = len(data) == 4
		case ctaZone:
			f.zone = data
			ok = len(data) == 2
		}
		if !ok {
			return false
		}
	}
	f.protocol = original.protocol
	f.destination, f.source = original.destination(), reply.source()
	return f.id != nil && f.destination.Addr().IsValid() && f.source.Addr().IsValid()
}

// tuple is one direction of a flow.
type tuple struct {
	src, dst         netip.Addr
	protocol         model.Protocol
	srcPort, dstPort uint16 // 0 where the protocol has none
}

func (t *tuple) source() netip.AddrPort      { return netip.AddrPortFrom(t.src, t.srcPort) }
func (t *tuple) destination() netip.AddrPort { return netip.AddrPortFrom(t.dst, t.dstPort) }

func (t *tuple) parse(b []byte) bool {
	for len(b) > 0 {
		typ, data, rest, ok := nextAttribute(b)
		if !ok {
			return false
		}
		b = rest
		switch typ {
		case ctaTupleIP:
			ok = t.parseIP(data)
		case ctaTupleProto:
			ok = t.parseProtocol(data)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (t *tuple) parseIP(b []byte) bool {
	for len(b) > 0 {
		typ, data, rest, ok := nextAttribute(b)
		if !ok {
			return false
		}
		b = rest
		switch typ {
		case ctaIPv4Src:
			t.src, ok = address4(data)
		case ctaIPv4Dst:
			t.dst, ok = address4(data)
		case ctaIPv6Src:
			t.src, ok = address6(data)
		case ctaIPv6Dst:
			t.dst, ok = address6(data)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (t *tuple) parseProtocol(b []byte) bool {
	for len(b) > 0 {
		typ, data, rest, ok := nextAttribute(b)
		if !ok {
			return false
		}
		b = rest
		switch typ {
		case ctaProtoNum:
			if ok = len(data) == 1; ok {
				t.protocol = model.Protocol(data[0])
			}
		case ctaProtoSrcPort:
			t.srcPort, ok = port(data)
		case ctaProtoDstPort:
			t.dstPort, ok = port(data)
		}
		if !ok {
			return false
		}
	}
	return true
}

func address4(b []byte) (netip.Addr, bool) {
	if len(b) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b)), true
}

func address6(b []byte) (netip.Addr, bool) {
	if len(b) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)), true
}

func port(b []byte) (uint16, bool) {
	if len(b) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}
