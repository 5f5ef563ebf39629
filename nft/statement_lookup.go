package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// inSet matches packets whose fields are (not) in a set.
type inSet struct {
	fields []Field
	set    string
	not    bool
}

// In matches packets whose fields, concatenated, are in the set.
func In(set string, fields ...Field) Statement { return inSet{fields, set, false} }

// NotIn matches packets whose fields, concatenated, are not in the set.
func NotIn(set string, fields ...Field) Statement { return inSet{fields, set, true} }

func (s inSet) String() string {
	if s.not {
		return fmt.Sprintf("%s != @%s", concat(s.fields), s.set)
	}
	return fmt.Sprintf("%s @%s", concat(s.fields), s.set)
}

func (s inSet) compile(p *program) {
	p.load(0, s.fields)
	p.add(&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.set, Invert: s.not})
}

// vmap takes the verdict that a verdict map has for the fields.
type vmap struct {
	fields []Field
	set    string
}

// Vmap takes the verdict of the fields' element in a verdict map. Without an
// element the packet goes on to the next rule.
func Vmap(set string, fields ...Field) Statement { return vmap{fields, set} }

func (s vmap) String() string { return fmt.Sprintf("%s vmap @%s", concat(s.fields), s.set) }

func (s vmap) compile(p *program) {
	p.load(0, s.fields)
	p.add(&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: s.set})
}

// dnat translates the destination to what a map says.
type dnat struct {
	family string
	fields []Field
	set    string
}

// DNAT translates the destination of an IPv4 connection to the address and port
// that the map has for the fields. Without an element the packet goes on to the
// next rule.
func DNAT(set string, fields ...Field) Statement { return dnat{"ip", fields, set} }

// DNAT6 is DNAT for IPv6.
func DNAT6(set string, fields ...Field) Statement { return dnat{"ip6", fields, set} }

func (s dnat) String() string {
	return fmt.Sprintf("dnat %s to %s map @%s", s.family, concat(s.fields), s.set)
}

func (s dnat) compile(p *program) {
	family, port := uint32(unix.NFPROTO_IPV4), register32(IPv4Addr.paddedSize())
	if s.family == "ip6" {
		family, port = unix.NFPROTO_IPV6, register32(IPv6Addr.paddedSize())
	}
	p.needFamily(family)
	p.load(0, s.fields)
	p.add(
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, IsDestRegSet: true, SetName: s.set},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: family, Specified: true,
			RegAddrMin: unix.NFT_REG_1, RegAddrMax: unix.NFT_REG_1, RegProtoMin: port, RegProtoMax: port,
		},
	)
}

// update adds an element to a dynamic map, or refreshes the timeout of the one
// that is there (and leaves its data).
type update struct {
	set     string
	key     []Field
	timeout time.Duration
	data    []Field
}

// Update adds key to a dynamic map with a timeout (at least a second) and with
// data; an element with that key keeps its data and gets the timeout anew.
func Update(set string, key []Field, timeout time.Duration, data []Field) Statement {
	return update{set, key, timeout, data}
}

func (s update) String() string {
	return fmt.Sprintf("update @%s { %s timeout %s : %s }", s.set, concat(s.key), timeText(s.timeout), concat(s.data))
}

func (s update) compile(p *program) {
	off := p.load(0, s.key)
	if off <= 32 { // where there is room, the data begins at a 128-bit register, as nft has it
		off = (off + 15) &^ 15
	}
	data := register32(off)
	p.load(off, s.data)
	p.add(&expr.Dynset{
		SrcRegKey: unix.NFT_REG_1, SrcRegData: data, SetName: s.set,
		Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: s.timeout,
	})
}

// timeText prints a time as nft does: "1d2h3m4s500ms".
func timeText(d time.Duration) string {
	out := ""
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / u.unit; n > 0 {
			out += fmt.Sprintf("%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return out
}
