package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// decode prints bytecode as read from the kernel in nft's language: what this
// package's statements compile to reads as they do, and of what others write, as
// much as it knows. An expression that it does not know is named in brackets.
func decode(bytecode []byte) string {
	d := decoder{registers: map[int]operand{}}
	for {
		_, expression, rest, ok := nextAttr(bytecode)
		if !ok {
			break
		}
		bytecode = rest
		name := strings.TrimRight(string(findAttr(expression, unix.NFTA_EXPR_NAME)), "\x00")
		d.expression(name, findAttr(expression, unix.NFTA_EXPR_DATA))
	}
	if d.nfproto != "" { // nothing behind it implied it
		d.parts = append([]string{d.nfproto}, d.parts...)
	}
	return strings.Join(d.parts, " ")
}

// decoder follows what registers hold.
type decoder struct {
	registers map[int]operand // by offset in bytes
	parts     []string
	nfproto   string // a match of the network protocol, which nft hides where fields imply it
}

// operand is the content of a register.
type operand struct {
	text string
	size int
	mask uint32 // of a bitwise operation
	xor  uint32
	bits bool // it is masked
	ones int  // of the mask of an address; 0: it is not masked
}

func (d *decoder) print(format string, args ...any) {
	d.parts = append(d.parts, fmt.Sprintf(format, args...))
	clear(d.registers)
}

// offsetOf is where a register begins in the register file.
func offsetOf(register uint32) int {
	if register >= unix.NFT_REG32_00 {
		return int(register-unix.NFT_REG32_00) * 4
	}
	return int(register-unix.NFT_REG_1) * 16
}

func (d *decoder) load(register uint32, text string, size int) {
	d.registers[offsetOf(register)] = operand{text: text, size: max(4, (size+3)&^3)}
}

func attrUint32(data []byte, typ uint16) uint32 {
	if b := findAttr(data, typ); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func attrName(data []byte, typ uint16) string {
	return string(bytes.TrimRight(findAttr(data, typ), "\x00"))
}

func attrValue(data []byte, typ uint16) []byte {
	return findAttr(findAttr(data, typ), unix.NFTA_DATA_VALUE)
}

// concat is the concatenation in the registers from one on, up to an offset.
func (d *decoder) concat(register uint32, end int) string {
	var texts []string
	for off := offsetOf(register); off < end; {
		o, ok := d.registers[off]
		if !ok {
			break
		}
		texts = append(texts, o.text)
		off += o.size
	}
	return strings.Join(texts, " . ")
}

// registersEnd is the size of the register file.
const registersEnd = 80

func (d *decoder) expression(name string, data []byte) {
	switch name {
	case "payload":
		d.payload(data)
	case "meta":
		d.meta(data)
	case "ct":
		d.ct(data)
	case "numgen":
		d.load(attrUint32(data, unix.NFTA_NG_DREG), fmt.Sprintf("numgen random mod %d", attrUint32(data, unix.NFTA_NG_MODULUS)), 4)
	case "fib":
		d.load(attrUint32(data, unix.NFTA_FIB_DREG), "fib saddr type", 4)
	case "bitwise":
		d.bitwise(data)
	case "cmp":
		d.cmp(data)
	case "lookup":
		d.lookup(data)
	case "nat":
		d.nat(data)
	case "masq":
		d.print("masquerade fully-random")
	case "reject":
		d.print("reject")
	case "immediate":
		d.immediate(data)
	case "dynset":
		d.dynset(data)
	case "counter":
		d.parts = append(d.parts, "counter")
	default:
		d.print("[%s]", name)
	}
}

func (d *decoder) payload(data []byte) {
	base, off, size := attrUint32(data, unix.NFTA_PAYLOAD_BASE), attrUint32(data, unix.NFTA_PAYLOAD_OFFSET), attrUint32(data, unix.NFTA_PAYLOAD_LEN)
	text := fmt.Sprintf("@%s,%d,%d", [...]string{"ll", "nh", "th", "ih", "tun"}[base%5], off*8, size*8)
	switch {
	case base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && off == 2 && size == 2:
		text = "th dport"
	case base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && off == 0 && size == 2:
		text = "th sport"
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER:
		switch [2]uint32{off, size} {
		case [2]uint32{12, 4}:
			text = "ip saddr"
		case [2]uint32{16, 4}:
			text = "ip daddr"
		case [2]uint32{8, 16}:
			text = "ip6 saddr"
		case [2]uint32{24, 16}:
			text = "ip6 daddr"
		}
		d.nfproto = ""
	}
	d.load(attrUint32(data, unix.NFTA_PAYLOAD_DREG), text, int(size))
}

var metaKeys = map[uint32]string{
	unix.NFT_META_MARK: "meta mark", unix.NFT_META_IIFNAME: "iifname", unix.NFT_META_OIFNAME: "oifname",
	unix.NFT_META_NFPROTO: "meta nfproto", unix.NFT_META_L4PROTO: "meta l4proto",
}

const nftMetaNftrace = 12 // NFT_META_NFTRACE

func (d *decoder) meta(data []byte) {
	key := attrUint32(data, unix.NFTA_META_KEY)
	text, known := metaKeys[key]
	if !known {
		text = fmt.Sprintf("meta %d", key)
	}
	register := attrUint32(data, unix.NFTA_META_SREG)
	if register == 0 {
		d.load(attrUint32(data, unix.NFTA_META_DREG), text, 4)
		return
	}
	o := d.registers[offsetOf(register)]
	switch {
	case key == nftMetaNftrace:
		d.print("meta nftrace set 1")
	case o.bits && o.mask == ^o.xor:
		d.print("%s set %s | 0x%08x", text, o.text, o.xor)
	case o.bits && o.mask == ^uint32(0):
		d.print("%s set %s ^ 0x%08x", text, o.text, o.xor)
	default:
		d.print("%s set %s", text, o.text)
	}
}

func (d *decoder) ct(data []byte) {
	key, text, size := attrUint32(data, unix.NFTA_CT_KEY), "", 4
	switch key {
	case unix.NFT_CT_STATE:
		text = "ct state"
	case unix.NFT_CT_STATUS:
		text = "ct status"
	case unix.NFT_CT_DST_IP:
		text = "ct original ip daddr"
	case unix.NFT_CT_DST_IP6:
		text, size = "ct original ip6 daddr", 16
	case unix.NFT_CT_PROTO_DST:
		text = "ct original proto-dst"
	default:
		text = fmt.Sprintf("ct %d", key)
	}
	d.load(attrUint32(data, unix.NFTA_CT_DREG), text, size)
}

func (d *decoder) bitwise(data []byte) {
	o := d.registers[offsetOf(attrUint32(data, unix.NFTA_BITWISE_SREG))]
	mask, xor := attrValue(data, unix.NFTA_BITWISE_MASK), attrValue(data, unix.NFTA_BITWISE_XOR)
	ones, size := net.IPMask(mask).Size() // of a mask that is not ones and then zeroes: 0, 0
	switch {
	case strings.HasSuffix(o.text, "addr") && ones > 0 && ones < size && isZero(xor):
		o.ones = ones
	case len(mask) == 4 && len(xor) == 4:
		o.bits, o.mask, o.xor = true, binary.NativeEndian.Uint32(mask), binary.NativeEndian.Uint32(xor)
	}
	d.registers[offsetOf(attrUint32(data, unix.NFTA_BITWISE_DREG))] = o
}

var cmpOperators = [...]string{"", "!= ", "< ", "<= ", "> ", ">= "}

func (d *decoder) cmp(data []byte) {
	o := d.registers[offsetOf(attrUint32(data, unix.NFTA_CMP_SREG))]
	value := attrValue(data, unix.NFTA_CMP_DATA)
	operator := cmpOperators[attrUint32(data, unix.NFTA_CMP_OP)%uint32(len(cmpOperators))]
	const stateNew, statusDNAT = 1 << 3, 1 << 5
	switch {
	case o.text == "meta nfproto" && len(value) == 1:
		d.nfproto = nfproto(value[0]).String()
		clear(d.registers)
	case o.text == "meta l4proto" && len(value) == 1:
		d.print("%s %s%s", o.text, operator, Protocol(value[0]))
	case o.text == "ct state" && o.bits && o.mask == stateNew:
		d.print("ct state new")
	case o.text == "ct status" && o.bits && o.mask == statusDNAT:
		d.print("%s", ctDNAT{not: operator == ""})
	case o.text == "fib saddr type" && len(value) == 4 && binary.NativeEndian.Uint32(value) == unix.RTN_LOCAL:
		d.print("%s %slocal", o.text, operator)
	case o.bits && len(value) == 4:
		d.print("%s & 0x%08x %s0x%08x", o.text, o.mask, operator, binary.NativeEndian.Uint32(value))
	case (o.text == "iifname" || o.text == "oifname") && len(value) == unix.IFNAMSIZ:
		d.print("%s %s%q", o.text, operator, bytes.TrimRight(value, "\x00"))
	case o.text == "iifname" || o.text == "oifname":
		d.print("%s %s%q", o.text, operator, string(value)+"*")
	default:
		prefix := ""
		if o.ones > 0 {
			prefix = fmt.Sprintf("/%d", o.ones)
		}
		d.print("%s %s%s%s", o.text, operator, valueText(o.text, value), prefix)
	}
}

// valueText prints what a field is compared with.
func valueText(field string, value []byte) string {
	switch {
	case strings.HasSuffix(field, "addr") && len(value) == 4:
		return IPv4Addr.text(value)
	case strings.HasSuffix(field, "addr") && len(value) == 16:
		return IPv6Addr.text(value)
	case strings.HasSuffix(field, "port") && len(value) == 2:
		return InetService.text(value)
	}
	return fmt.Sprintf("%#x", value)
}

func (d *decoder) lookup(data []byte) {
	key := d.concat(attrUint32(data, unix.NFTA_LOOKUP_SREG), registersEnd)
	set := attrName(data, unix.NFTA_LOOKUP_SET)
	const invert = 1 // NFT_LOOKUP_F_INV
	register := findAttr(data, unix.NFTA_LOOKUP_DREG)
	switch {
	case register == nil && attrUint32(data, unix.NFTA_LOOKUP_FLAGS)&invert != 0:
		d.print("%s != @%s", key, set)
	case register == nil:
		d.print("%s @%s", key, set)
	case attrUint32(data, unix.NFTA_LOOKUP_DREG) == unix.NFT_REG_VERDICT:
		d.print("%s vmap @%s", key, set)
	default:
		clear(d.registers)
		d.load(attrUint32(data, unix.NFTA_LOOKUP_DREG), fmt.Sprintf("%s map @%s", key, set), 4)
	}
}

func (d *decoder) nat(data []byte) {
	kind, family := "dnat", "ip"
	if attrUint32(data, unix.NFTA_NAT_TYPE) == unix.NFT_NAT_SNAT {
		kind = "snat"
	}
	if attrUint32(data, unix.NFTA_NAT_FAMILY) == unix.NFPROTO_IPV6 {
		family = "ip6"
	}
	d.nfproto = ""
	o := d.registers[offsetOf(attrUint32(data, unix.NFTA_NAT_REG_ADDR_MIN))]
	d.print("%s %s to %s", kind, family, o.text)
}

func (d *decoder) immediate(data []byte) {
	verdict := findAttr(findAttr(data, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
	if verdict == nil {
		d.load(attrUint32(data, unix.NFTA_IMMEDIATE_DREG), fmt.Sprintf("%#x", attrValue(data, unix.NFTA_IMMEDIATE_DATA)), 4)
		return
	}
	code := int32(attrUint32(verdict, unix.NFTA_VERDICT_CODE))
	v, ok := VerdictOf(code, attrName(verdict, unix.NFTA_VERDICT_CHAIN))
	if !ok {
		d.print("[verdict %d]", code)
		return
	}
	d.print("%s", v)
}

func (d *decoder) dynset(data []byte) {
	values := findAttr(data, unix.NFTA_DYNSET_SREG_DATA)
	end := registersEnd
	if values != nil {
		end = offsetOf(attrUint32(data, unix.NFTA_DYNSET_SREG_DATA))
	}
	text := d.concat(attrUint32(data, unix.NFTA_DYNSET_SREG_KEY), end)
	if timeout := findAttr(data, unix.NFTA_DYNSET_TIMEOUT); len(timeout) == 8 {
		text += " timeout " + timeText(time.Duration(binary.BigEndian.Uint64(timeout))*time.Millisecond)
	}
	if values != nil {
		text += " : " + d.concat(attrUint32(data, unix.NFTA_DYNSET_SREG_DATA), registersEnd)
	}
	operation := [...]string{"add", "update", "delete"}[attrUint32(data, unix.NFTA_DYNSET_OP)%3]
	d.print("%s @%s { %s }", operation, attrName(data, unix.NFTA_DYNSET_SET_NAME), text)
}
