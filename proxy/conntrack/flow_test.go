package conntrack

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Datagrams of dumps as Linux 6.18 sent them: the first flow is in zone 7, the
// second in zone 9 in its original direction.
var dumps = []struct {
	name, datagram string
	want           flow
}{
	{
		name: "IPv4, zone",
		datagram: "ac00000000012200070000007f72000002000000340001801400018008000100c633640a080002000a60000a" +
			"1c00028005000100110000000600020061a9000006000300003500003400028014000180080001000af4000b08000200c633640a" +
			"1c0002800500010011000000060002001f9000000600030061a90000060012000007000008000300000001a80800080000000000" +
			"08000c007d973dc308000b0000000001080007000000001d",
		want: flow{
			family: ipv4, protocol: model.UDP,
			destination: netip.MustParseAddrPort("10.96.0.10:53"), source: netip.MustParseAddrPort("10.244.0.11:8080"),
			id: []byte{0x7d, 0x97, 0x3d, 0xc3}, zone: []byte{0, 7},
		},
	},
	{
		name: "IPv6, zone in the tuple",
		datagram: "dc0000000001220007000000ec255ecf0a000000540001802c0001801400030020010db8010000000000000000000010" +
			"14000400fd0000960000000000000000000000101c00028005000100110000000600020061aa0000060003000035000006000300" +
			"000900004c0002802c00018014000300fd0000100244000000000000000000111400040020010db8010000000000000000000010" +
			"1c0002800500010011000000060002001f9000000600030061aa000008000300000001aa08000800000000000800" +
			"0c00229d871808000b0000000001080007000000001d",
		want: flow{
			family: ipv6, protocol: model.UDP,
			destination: netip.MustParseAddrPort("[fd00:96::10]:53"), source: netip.MustParseAddrPort("[fd00:10:244::11]:8080"),
			id: []byte{0x22, 0x9d, 0x87, 0x18},
		},
	},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFlow(t *testing.T) {
	for _, c := range dumps {
		m, rest, ok := nextMessage(unhex(t, c.datagram))
		if !ok || len(rest) > 0 {
			t.Fatalf("%s: message %v, %d bytes left", c.name, ok, len(rest))
		}
		var f flow
		if !m.flow(&f) {
			t.Fatalf("%s: no flow", c.name)
		}
		if f.family != c.want.family || f.protocol != c.want.protocol || f.destination != c.want.destination ||
			f.source != c.want.source || string(f.id) != string(c.want.id) || string(f.zone) != string(c.want.zone) {
			t.Errorf("%s: %+v; want %+v", c.name, f, c.want)
		}
	}
}

// What is cut off anywhere is no flow: half a tuple must not name another flow.
// (The id comes near the end, and without it there is no flow.)
func TestParseTruncatedFlow(t *testing.T) {
	for _, c := range dumps {
		m, _, _ := nextMessage(unhex(t, c.datagram))
		attributes := m.payload[sizeofNfgenmsg:]
		for n := range attributes {
			var f flow
			if f.parse(c.want.family, attributes[:n:n]) && (f.destination != c.want.destination || f.source != c.want.source) {
				t.Errorf("%s cut to %d of %d bytes: %+v", c.name, n, len(attributes), f)
			}
		}
	}
}

func FuzzFlow(f *testing.F) {
	for _, c := range dumps {
		f.Add(unhex(f, c.datagram))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for {
			m, rest, ok := nextMessage(datagram)
			if !ok {
				return
			}
			datagram = rest
			var fl flow
			if m.flow(&fl) {
				checkDelete(t, &fl)
			}
		}
	})
}

// checkDelete proves that the request to delete a flow, whatever the flow was
// read from, names that flow: a request without a tuple would delete all flows.
func checkDelete(t *testing.T, f *flow) {
	t.Helper()
	var b buffer
	b.deleteFlow(f, 1)
	m, rest, ok := nextMessage(b)
	if !ok || len(rest) > 0 || m.typ != unix.NFNL_SUBSYS_CTNETLINK<<8|msgDelete {
		t.Fatalf("delete request %x is malformed", b)
	}
	typ, data, attributes, ok := nextAttribute(m.payload[sizeofNfgenmsg:])
	if !ok || typ != ctaTupleOrig {
		t.Fatalf("delete request %x does not begin with a tuple", b)
	}
	var original tuple
	if !original.parse(data) || original.destination() != f.destination || original.protocol != f.protocol {
		t.Errorf("delete request of %+v has the tuple %+v", f, original)
	}
	if typ, data, _, ok = nextAttribute(attributes); !ok || typ != ctaID || string(data) != string(f.id) {
		t.Errorf("delete request %x has no id", b)
	}
}

// Neither reading a flow nor deciding about it allocates.
func TestFlowsTakeNoMemory(t *testing.T) {
	var datagram []byte
	for _, d := range dumps {
		datagram = append(datagram, unhex(t, d.datagram)...)
	}
	c := New(Options{})
	c.Clean([]Frontend{udp("10.96.0.10:53", "10.244.0.12:8080"), udp("[fd00:96::10]:53", "[fd00:10:244::11]:8080")})
	b := c.take(time.Now()).batch
	var f flow
	stale := 0
	allocations := testing.AllocsPerRun(100, func() {
		for rest := datagram; ; {
			m, next, ok := nextMessage(rest)
			if !ok {
				break
			}
			rest = next
			if m.flow(&f) && c.isStale(b, &f) {
				stale++
			}
		}
	})
	if allocations != 0 || stale != 101 { // and the run to warm up
		t.Errorf("%v allocations, %d stale flows; want none and 101", allocations, stale)
	}
}
