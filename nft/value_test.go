package nft

import (
	"bytes"
	"net/netip"
	"testing"
)

func addr(s string) Value { return Value{}.Addr(netip.MustParseAddr(s)) }

func TestValueLayout(t *testing.T) {
	tests := []struct {
		value Value
		types Types
		bytes []byte
		text  string
	}{
		{addr("10.0.0.1"), Types{IPv4Addr}, []byte{10, 0, 0, 1}, "10.0.0.1"},
		{Value{}.Port(80), Types{InetService}, []byte{0, 80, 0, 0}, "80"},
		{Value{}.Protocol(SCTP), Types{InetProto}, []byte{132, 0, 0, 0}, "sctp"},
		{Value{}.Protocol(1), Types{InetProto}, []byte{1, 0, 0, 0}, "1"},
		{
			addr("10.0.0.1").Protocol(UDP).Port(0x1234),
			Types{IPv4Addr, InetProto, InetService},
			[]byte{10, 0, 0, 1, 17, 0, 0, 0, 0x12, 0x34, 0, 0},
			"10.0.0.1 . udp . 4660",
		},
		{
			addr("fd00::1").Port(1),
			Types{IPv6Addr, InetService},
			[]byte{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0},
			"fd00::1 . 1",
		},
		{Value{}, Types{IPv4Addr}, nil, ""},
		{addr("10.0.0.1"), Types{IPv6Addr}, []byte{10, 0, 0, 1}, "0x0a000001"}, // does not fit
	}
	for _, tt := range tests {
		if !bytes.Equal(tt.value.Bytes(), tt.bytes) {
			t.Errorf("%s is laid out as %x, want %x", tt.text, tt.value.Bytes(), tt.bytes)
		}
		if got := tt.value.Text(tt.types); got != tt.text {
			t.Errorf("%x as %s is %q, want %q", tt.bytes, tt.types, got, tt.text)
		}
	}
}

func TestValueReadsWhatItHolds(t *testing.T) {
	v := addr("10.0.0.1").Protocol(TCP).Port(80).Mark(0x01020304)
	if v.AddrAt(0, true) != netip.MustParseAddr("10.0.0.1") || v.ProtocolAt(4) != TCP || v.PortAt(8) != 80 || v.MarkAt(12) != 0x01020304 {
		t.Errorf("%x is read as %v %v %v %x", v.Bytes(), v.AddrAt(0, true), v.ProtocolAt(4), v.PortAt(8), v.MarkAt(12))
	}
	if v.AddrAt(4, false).IsValid() || v.AddrAt(16, true).IsValid() || v.ProtocolAt(16) != 0 || v.PortAt(15) != 0 || v.MarkAt(13) != 0 {
		t.Error("something is read behind the end")
	}
}

func TestValueOf(t *testing.T) {
	v, err := ValueOf([]byte{0, 80}) // the kernel does not pad a single field
	if want := (Value{}).Port(80); err != nil || v != want {
		t.Errorf("read %x, error %v, want %x", v.Bytes(), err, want.Bytes())
	}
	if _, err := ValueOf(make([]byte, maxValue+1)); err == nil {
		t.Error("no error for a value that is too long")
	}
	if _, err := ValueOf(make([]byte, maxValue)); err != nil {
		t.Error(err)
	}
}

func TestTypesOf(t *testing.T) {
	for _, want := range []Types{
		{IPv4Addr}, {Mark}, {IPv4Addr, InetProto, InetService, Mark}, {IPv6Addr, IPv6Addr, InetProto, InetService},
	} {
		if got, ok := TypesOf(want.ID()); !ok || got.String() != want.String() {
			t.Errorf("number %#x of %s is read as %s", want.ID(), want, got)
		}
	}
	wide := Types{IPv6Addr, IPv6Addr, IPv6Addr}
	for _, id := range []uint32{0, 1, 9, 7<<6 | 9, 9<<6 | 7, 7 << 6, wide.ID(), 0xffffff00} {
		if got, ok := TypesOf(id); ok {
			t.Errorf("number %#x is read as %s", id, got)
		}
	}
}
