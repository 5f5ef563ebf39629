package conntrack

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// family is an address family by its number in netfilter.
type family uint8

const (
	ipv4 family = unix.NFPROTO_IPV4
	ipv6 family = unix.NFPROTO_IPV6
)

func (f family) String() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// filter is what the kernel is asked to dump: UDP flows of one family, or flows of
// any protocol that nobody has answered.
type filter struct {
	family     family
	unanswered bool       // then there is no address and no port
	addr       netip.Addr // original destination, IPv4; invalid: any
	port       uint16     // of the original destination; 0: any
}

// filters returns one filter per family that the batch has, as narrow as lets
// the flows of all targets through.
func (b batch) filters() []filter {
	var list []filter
	for _, fam := range []family{ipv4, ipv6} {
		f, found := filter{family: fam}, false
		for t := range b {
			if familyOf(t.Addr()) != fam {
				continue
			}
			if !found {
				f.addr, f.port, found = t.Addr(), t.Port(), true
			}
			f.widen(t)
		}
		if fam == ipv6 {
			f.addr = netip.Addr{} // see the package's documentation
		}
		if found {
			list = append(list, f)
		}
	}
	return list
}

// widen makes the filter let a target's flows through.
func (f *filter) widen(t target) {
	if f.addr != t.Addr() {
		f.addr = netip.Addr{}
	}
	if f.port != t.Port() {
		f.port = 0
	}
}

// The attribute of CTA_FILTER that says which fields of the original tuple are
// compared, and its bits (net/netfilter/nf_internals.h).
const (
	ctaFilterOrigFlags = 1

	filterIPDst        = 1 << 1
	filterProtoNum     = 1 << 3
	filterProtoDstPort = 1 << 5
)

// encode appends the attributes of the request for a dump.
func (f *filter) encode(b *buffer) {
	if f.unanswered {
		b.bytes(ctaStatus, binary.BigEndian.AppendUint32(nil, 0))
		b.bytes(ctaStatusMask, binary.BigEndian.AppendUint32(nil, statusSeenReply))
		return
	}
	flags := uint32(filterProtoNum)
	original := b.open(ctaTupleOrig)
	if f.addr.IsValid() {
		flags |= filterIPDst
		ip := b.open(ctaTupleIP)
		b.bytes(ctaIPv4Dst, f.addr.AsSlice())
		b.close(ip)
	}
	protocol := b.open(ctaTupleProto)
	b.bytes(ctaProtoNum, []byte{byte(model.UDP)})
	if f.port != 0 {
		flags |= filterProtoDstPort
		b.bytes(ctaProtoDstPort, []byte{byte(f.port >> 8), byte(f.port)})
	}
	b.close(protocol)
	b.close(original)

	filter := b.open(ctaFilter)
	b.hostUint32(ctaFilterOrigFlags, flags)
	b.close(filter)
}
