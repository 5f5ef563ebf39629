package kernel

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// encodeSets are sets of the kinds that are encoded in different ways, each with
// an element that has all there can be.
func encodeSets() []*nft.Set {
	v4 := func(last byte) nft.Value { return nft.Value{}.Addr(netip.AddrFrom4([4]byte{10, 0, 0, last})) }
	v6 := nft.Value{}.Addr(netip.MustParseAddr("fd00::1"))
	sets := []*nft.Set{
		{Key: nft.Types{nft.IPv4Addr}, Elements: []nft.Element{{Key: v4(1)}}},
		{Key: nft.Types{nft.InetService}, Elements: []nft.Element{{Key: nft.Value{}.Port(80)}}},
		{Key: nft.Types{nft.IPv4Addr}, Interval: true, Elements: []nft.Element{{Key: v4(1), KeyEnd: v4(255)}}},
		{Key: nft.Types{nft.IPv4Addr, nft.InetService}, Interval: true, Elements: []nft.Element{{Key: v4(1).Port(1), KeyEnd: v4(255).Port(9)}}},
		{Key: nft.Types{nft.IPv6Addr}, Verdicts: true, Elements: []nft.Element{{Key: v6, Verdict: nft.GotoChain("lb6-16")}}},
		{Key: nft.Types{nft.IPv6Addr, nft.Mark}, Data: nft.Types{nft.IPv6Addr, nft.InetService}, Elements: []nft.Element{{Key: v6.Mark(7), Data: v6.Port(80)}}},
		{Key: nft.Types{nft.IPv4Addr}, Data: nft.Types{nft.IPv4Addr}, Dynamic: true, Elements: []nft.Element{{Key: v4(1), Data: v4(2), Timeout: time.Hour}}},
	}
	for _, s := range sets {
		s.Name = "set"
		s.Elements[0].Comment = "namespace/name:port"
	}
	return sets
}

// TestElementsParseAsEncoded proves that parsing inverts encoding.
func TestElementsParseAsEncoded(t *testing.T) {
	for _, s := range encodeSets() {
		var b buffer
		b.elementAdd(s, &s.Elements[0])
		var read []nft.Element
		r := newElementReader(s, func(e *nft.Element) error { read = append(read, *e); return nil })
		for _, element := range attrs(b) {
			if err := r.read(element); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.finish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.Elements, read, cmp.Comparer(func(a, b nft.Value) bool { return a == b })); diff != "" {
			t.Errorf("set of %s:\n%s", s.Key, diff)
		}
	}
}

// TestSetsParseAsEncoded proves the same of definitions.
func TestSetsParseAsEncoded(t *testing.T) {
	for _, s := range encodeSets() {
		for _, size := range []uint32{0, 100} {
			for _, counters := range []bool{false, true} {
				s.Size, s.Counters = size, counters
				var b buffer
				b.set("t", s, 1)
				if read, named := parseSet(b); !named || !read.SameDefinition(s) {
					t.Errorf("set %+v is parsed as %+v", s, read)
				}
			}
		}
	}
}

// TestEncodingAllocatesNothing fills batches of elements of every kind.
func TestEncodingAllocatesNothing(t *testing.T) {
	for _, s := range encodeSets() {
		elements := make([]nft.Element, 3000)
		for i := range elements {
			elements[i] = s.Elements[0]
		}
		table := &nft.Table{Name: "t"}
		operations := []nft.Operation{
			{Kind: nft.AddElements, Set: s, Elements: elements},
			{Kind: nft.DeleteElements, Set: s, Elements: elements},
		}
		var b batch
		encode := func() {
			b.begin(table, operations, 10<<20)
			if !b.fill(1) || !b.done() {
				t.Fatal("the batch does not fit")
			}
		}
		if n := testing.AllocsPerRun(3, encode); n > 0 {
			t.Errorf("set of %s: %v allocations", s.Key, n)
		}
	}
}

// BenchmarkEncodeElement encodes one element of each kind.
func BenchmarkEncodeElement(b *testing.B) {
	for _, s := range encodeSets() {
		b.Run(s.Key.String(), func(b *testing.B) {
			var buf buffer
			for b.Loop() {
				buf = buf[:0]
				buf.elementAdd(s, &s.Elements[0])
			}
		})
	}
}

// TestBatchesRespectEveryLimit cuts one transaction at every size, and finds each
// element once, in order, and each batch within its limit.
func TestBatchesRespectEveryLimit(t *testing.T) {
	s := encodeSets()[2] // two elements in the kernel for each
	table := &nft.Table{Name: "t"}
	operations := []nft.Operation{{Kind: nft.AddSet, Set: s}, {Kind: nft.AddElements, Set: s}, {Kind: nft.DeleteSet, Set: s}}
	for i := range 40 {
		v := nft.Value{}.Addr(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}))
		operations[1].Elements = append(operations[1].Elements, nft.Element{Key: v, Comment: "x"})
	}
	for limit := 300; limit < 6000; limit += 7 {
		var b batch
		b.begin(table, operations, limit)
		var sent int
		for !b.done() {
			if !b.fill(1) {
				t.Fatalf("limit %d: an operation does not fit", limit)
			}
			if len(b.buffer) > limit {
				t.Fatalf("limit %d: a batch of %d bytes", limit, len(b.buffer))
			}
			sent += b.operationsSent()
		}
		if sent != 42 {
			t.Fatalf("limit %d: %d operations sent, want 42", limit, sent)
		}
	}
}

// TestErrorOffsets points an extended ACK at every element of a message in turn.
func TestErrorOffsets(t *testing.T) {
	for _, s := range encodeSets() {
		elements := make([]nft.Element, 50)
		for i := range elements {
			elements[i] = s.Elements[0]
			elements[i].Comment = string(bytes.Repeat([]byte{'x'}, i))
		}
		var b batch
		b.begin(&nft.Table{Name: "t"}, []nft.Operation{{Kind: nft.AddElements, Set: s, Elements: elements}}, 1<<20)
		if !b.fill(1) {
			t.Fatal("the batch does not fit")
		}
		if len(b.messages) != 3 { // the beginning, the one with the echo, the rest
			t.Fatalf("%d messages", len(b.messages))
		}
		message := b.messageBytes(2)
		at := unix.SizeofNlMsghdr + sizeofNfgenmsg + 8 + 8 + unix.SizeofNlAttr
		next := 0
		for _, element := range attrs(message[at:]) {
			want := &elements[1+next/elementsInKernel(s, &s.Elements[0])]
			for _, offset := range []int{at, at + unix.SizeofNlAttr + len(element) - 1} {
				if e := b.newError(failure{seq: 3, errno: unix.EEXIST, offset: uint32(offset)}); e.Element != want {
					t.Errorf("set of %s, offset %d: element %+v, want %+v", s.Key, offset, e.Element, want)
				}
			}
			at += unix.SizeofNlAttr + (len(element)+3)&^3
			next++
		}
	}
}

// FuzzParse feeds what no kernel would send.
func FuzzParse(f *testing.F) {
	for _, s := range encodeSets() {
		var b buffer
		at := b.beginMessage(unix.NFT_MSG_NEWSETELEM, 0, 1)
		b.string(unix.NFTA_SET_ELEM_LIST_TABLE, "t")
		list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		b.elementAdd(s, &s.Elements[0])
		b.close(list)
		b.endMessage(at)
		at = b.beginMessage(unix.NFT_MSG_NEWSET, 0, 1)
		b.set("t", s, 1)
		b.endMessage(at)
		f.Add([]byte(b))
	}
	var b buffer
	at := b.beginMessage(unix.NFT_MSG_NEWCHAIN, 0, 1)
	b.chain("t", &nft.Chain{Name: "c", Base: &nft.Base{Type: nft.NATChain}}, true)
	b.endMessage(at)
	f.Add([]byte(b))
	f.Add([]byte{44, 0, 0, 0, 2, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 20, 0, 0, 0, 9, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 2, 0, 30, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		a := answers{lastSeq: 1 << 30}
		r := reply{visit: func(_, _ uint16, attributes []byte) error { parseEverything(attributes); return nil }}
		for {
			m, rest, ok := nextMessage(b)
			if !ok {
				return
			}
			a.add(&m)
			r.handle(&m) //nolint:errcheck // the error is of the bytes
			b = rest
		}
	})
}

// parseEverything takes the attributes for those of each kind of message.
func parseEverything(attributes []byte) {
	parseGeneration(attributes)
	parseTable(attributes)
	parseChain(attributes)
	parseRule(attributes)
	parseTrace(attributes)
	parsed, _ := parseSet(attributes)
	for _, s := range append(encodeSets(), parsed) {
		if len(s.Key) == 0 {
			continue
		}
		r := newElementReader(s, func(e *nft.Element) error { _ = e.Text(s); return nil })
		for _, list := range attrs(attributes) {
			for _, element := range attrs(list) {
				r.read(element) //nolint:errcheck // the error is of the bytes
			}
		}
		r.finish() //nolint:errcheck // the visit has no error
	}
}
