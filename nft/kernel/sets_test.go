package kernel_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

func address(s string) nft.Value { return nft.Value{}.Addr(addr(s)) }

func interval(first, last string) nft.Element {
	return nft.Element{Key: address(first), KeyEnd: address(last)}
}

func commented(e nft.Element, comment string) nft.Element {
	e.Comment = comment
	return e
}

// longComment has the most bytes that a comment may have.
var longComment = strings.Repeat("a b/c:d-", nft.MaxComment/8)

// setCases are sets of every kind, with what nft lists as their elements.
func setCases() []*nft.Set {
	tcp80 := func(a string) nft.Value { return address(a).Protocol(nft.TCP).Port(80) }
	return []*nft.Set{
		{Name: "addresses4", Key: nft.Types{nft.IPv4Addr}, Elements: []nft.Element{
			{Key: address("10.0.0.1")}, {Key: address("255.255.255.255"), Comment: "broadcast"},
		}},
		{Name: "addresses6", Key: nft.Types{nft.IPv6Addr}, Elements: []nft.Element{
			{Key: address("fd00::1"), Comment: longComment}, {Key: address("::")}, {Key: address("::ffff:1.2.3.4")},
		}},
		{Name: "protocols", Key: nft.Types{nft.InetProto}, Elements: []nft.Element{
			{Key: nft.Value{}.Protocol(nft.SCTP)}, {Key: nft.Value{}.Protocol(nft.UDP)},
		}},
		{Name: "ports", Key: nft.Types{nft.InetService}, Size: 3, Elements: []nft.Element{
			{Key: nft.Value{}.Port(1)}, {Key: nft.Value{}.Port(80), Comment: "x"}, {Key: nft.Value{}.Port(65535)},
		}},
		{Name: "port-ranges", Key: nft.Types{nft.InetService}, Interval: true, Elements: []nft.Element{
			{Key: nft.Value{}.Port(80)}, {Key: nft.Value{}.Port(30000), KeyEnd: nft.Value{}.Port(32767)},
		}},
		{Name: "marks", Key: nft.Types{nft.Mark}, Elements: []nft.Element{{Key: nft.Value{}.Mark(1)}, {Key: nft.Value{}.Mark(0x4000)}}},
		{Name: "cidrs4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Elements: []nft.Element{
			interval("0.0.0.0", "0.255.255.255"),
			commented(interval("10.0.0.0", "10.0.0.255"), longComment),
			commented(interval("10.0.1.0", "10.0.1.255"), "adjacent"),
			{Key: address("10.0.3.7"), Comment: "one"}, {Key: address("10.0.3.8")},
			interval("10.0.3.9", "10.0.3.77"),
			commented(interval("255.0.0.0", "255.255.255.255"), "to the end"),
		}},
		{Name: "everything4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Elements: []nft.Element{interval("0.0.0.0", "255.255.255.255")}},
		{Name: "last4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Elements: []nft.Element{{Key: address("255.255.255.255"), Comment: "last"}}},
		{Name: "cidrs6", Key: nft.Types{nft.IPv6Addr}, Interval: true, Counters: true, Elements: []nft.Element{
			interval("fd00::", "fd00::ffff:ffff:ffff:ffff"),
			commented(interval("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "to the end"),
		}},
		{Name: "cidr-verdicts4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Verdicts: true, Elements: []nft.Element{
			{Key: address("10.0.0.0"), KeyEnd: address("10.255.255.255"), Verdict: nft.JumpChain("target")},
			{Key: address("11.0.0.0"), Verdict: nft.Verdict{Kind: nft.Drop}, Comment: "x"},
		}},
		{Name: "cidr-data4", Key: nft.Types{nft.IPv4Addr}, Interval: true, Data: nft.Types{nft.IPv4Addr}, Elements: []nft.Element{
			{Key: address("10.0.0.0"), KeyEnd: address("10.255.255.255"), Data: address("1.2.3.4")},
		}},
		{Name: "sources4", Key: nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService, nft.IPv4Addr}, Interval: true, Elements: []nft.Element{
			{Key: tcp80("1.2.3.4").Addr(addr("10.0.0.0")), KeyEnd: tcp80("1.2.3.4").Addr(addr("10.255.255.255")), Comment: longComment},
			{Key: tcp80("1.2.3.4").Addr(addr("11.0.0.1"))},
			{Key: tcp80("1.2.3.5").Addr(addr("255.255.255.0")), KeyEnd: tcp80("1.2.3.5").Addr(addr("255.255.255.255"))},
		}},
		{Name: "sources6", Key: nft.Types{nft.IPv6Addr, nft.InetProto, nft.InetService, nft.IPv6Addr}, Interval: true, Elements: []nft.Element{
			{Key: tcp80("fd00::1").Addr(addr("fd01::")), KeyEnd: tcp80("fd00::1").Addr(addr("fd01::ffff:ffff:ffff:ffff"))},
		}},
		{Name: "services4", Key: nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService}, Verdicts: true, Counters: true, Elements: []nft.Element{
			{Key: tcp80("10.0.0.1"), Verdict: nft.GotoChain("target"), Comment: "shop/cart:http"},
			{Key: tcp80("10.0.0.2"), Verdict: nft.JumpChain("target"), Comment: longComment},
			{Key: tcp80("10.0.0.3"), Verdict: nft.Verdict{Kind: nft.Drop}},
			{Key: tcp80("10.0.0.4"), Verdict: nft.Verdict{Kind: nft.Accept}},
			{Key: tcp80("10.0.0.5"), Verdict: nft.Verdict{Kind: nft.Return}},
		}},
		{Name: "backends4", Key: nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService, nft.Mark}, Data: nft.Types{nft.IPv4Addr, nft.InetService},
			Size: 100, Elements: []nft.Element{
				{Key: tcp80("10.0.0.1").Mark(0), Data: address("10.1.0.1").Port(8080)},
				{Key: tcp80("10.0.0.1").Mark(1), Data: address("10.1.0.2").Port(8080)},
				{Key: tcp80("10.0.0.1").Mark(65535), Data: address("10.1.0.3").Port(65535), Comment: "slot"},
			}},
		{Name: "backends6", Key: nft.Types{nft.IPv6Addr, nft.InetProto, nft.InetService, nft.Mark}, Data: nft.Types{nft.IPv6Addr, nft.InetService},
			Elements: []nft.Element{{Key: tcp80("fd00::1").Mark(0x102), Data: address("fd01::1").Port(8080)}}},
		{Name: "affinity4", Key: nft.Types{nft.IPv4Addr, nft.IPv4Addr, nft.InetProto, nft.InetService}, Data: nft.Types{nft.IPv4Addr, nft.InetService},
			Dynamic: true, Size: 1000, Elements: []nft.Element{
				{Key: nft.Value{}.Addr(addr("1.1.1.1")).Addr(addr("10.0.0.1")).Protocol(nft.TCP).Port(80), Data: address("10.1.0.1").Port(8080), Timeout: 3 * time.Hour},
			}},
		{Name: "affinity6", Key: nft.Types{nft.IPv6Addr, nft.IPv6Addr, nft.InetProto, nft.InetService}, Data: nft.Types{nft.IPv6Addr, nft.InetService},
			Dynamic: true, Size: 1000, Elements: []nft.Element{
				{Key: nft.Value{}.Addr(addr("fd00::2")).Addr(addr("fd00::1")).Protocol(nft.UDP).Port(53), Data: address("fd01::1").Port(53), Timeout: 90 * time.Minute},
			}},
		{Name: "learned", Key: nft.Types{nft.IPv4Addr}, Data: nft.Types{nft.IPv4Addr}, Dynamic: true},
	}
}

func setTable() *nft.Table {
	return &nft.Table{Name: "kinds", Sets: setCases(), Chains: []*nft.Chain{{Name: "target"}}}
}

// TestSetsReadBack writes sets of every kind, reads them, and finds them equal.
func TestSetsReadBack(t *testing.T) {
	c := dial(t, kerneltest.Namespace(t), kernel.Options{})
	want := setTable()
	commit(t, c, nft.Diff(nil, want))
	snapshot, err := c.ReadTable(want.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want.Sets {
		r := snapshot.Table.Set(w.Name)
		if r == nil {
			t.Errorf("set %s is not there", w.Name)
			continue
		}
		if !r.SameDefinition(w) {
			t.Errorf("set %s is read as %+v", w.Name, r)
		}
		if diff := gocmp.Diff(elementsText(w, w.Elements), elementsText(w, r.Elements)); diff != "" {
			t.Errorf("set %s, wanted (-) and read (+):\n%s", w.Name, diff)
		}
		for i, e := range r.Elements {
			if w.Dynamic && (e.Expires <= 0 || e.Expires > e.Timeout) {
				t.Errorf("set %s: element %d expires in %v of %v", w.Name, i, e.Expires, e.Timeout)
			}
		}
	}
	if tx := nft.Diff(snapshot.Table, want); !tx.IsEmpty() {
		t.Errorf("programmed sets differ from themselves:\n%s", strings.Join(tx.Lines(), "\n"))
	}
}

// elementsText prints elements with all that is written, in the order of keys.
func elementsText(s *nft.Set, elements []nft.Element) []string {
	sorted := slices.Clone(elements)
	slices.SortFunc(sorted, func(a, b nft.Element) int { return cmp.Compare(a.Text(s), b.Text(s)) })
	var out []string
	for _, e := range sorted {
		end := e.KeyEnd
		if end == e.Key {
			end = nft.Value{}
		}
		out = append(out, fmt.Sprintf("%x-%x %s timeout %v", e.Key.Bytes(), end.Bytes(), e.Text(s), e.Timeout))
	}
	return out
}

// TestSetsListAsTheirText loads the text of the sets, and compares what nft lists
// with what it lists of the programmed ones.
func TestSetsListAsTheirText(t *testing.T) {
	programmed, loaded := kerneltest.Namespace(t), kerneltest.Namespace(t)
	c := dial(t, programmed, kernel.Options{})
	table := setTable()
	commit(t, c, nft.Diff(nil, table))
	loaded.NftLoad(t, table.Text())
	for _, s := range table.Sets {
		kind := "set"
		if s.IsMap() || s.IsVerdictMap() {
			kind = "map"
		}
		want := setListed(loaded.Nft(t, "list", kind, "inet", table.Name, s.Name))
		got := setListed(programmed.Nft(t, "list", kind, "inet", table.Name, s.Name))
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s, loaded as text (-) and programmed (+):\n%s", kind, s.Name, diff)
		}
	}
	if _, err := programmed.Command(t, "", "nft", "-j", "list", "ruleset"); err != nil {
		t.Errorf("nft -j list ruleset: %v", err)
	}
}

// setListed are the lines of a listing, with one element a line in order of the
// text, and without the time that is left.
func setListed(listing string) []string {
	var lines []string
	for _, line := range strings.Split(listing, "\n") {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "elements = {"); ok {
			lines, line = append(lines, "elements"), rest
		}
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "}"), ",") {
			before, after, found := strings.Cut(strings.TrimSpace(part), " expires ")
			if found {
				_, after, _ = strings.Cut(after, " ")
				before += " " + after
			}
			lines = append(lines, before)
		}
	}
	slices.Sort(lines)
	return lines
}

// TestRenderedSlotsMeanTheSame loads a map of slots with a typeof head, as text,
// and reads the elements back: the slot numbers must have the bytes that the
// kernel compares with numgen's.
func TestRenderedSlotsMeanTheSame(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	want := &nft.Set{
		Name: "backends4", Key: nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService, nft.Mark}, Data: nft.Types{nft.IPv4Addr, nft.InetService},
		LoadTypeof: "ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport",
	}
	for slot := range uint32(300) {
		want.Elements = append(want.Elements, nft.Element{
			Key:  address("10.0.0.1").Protocol(nft.TCP).Port(80).Mark(slot),
			Data: address("10.1.0.1").Port(uint16(slot)),
		})
	}
	ns.NftLoad(t, (&nft.Table{Name: "t", Sets: []*nft.Set{want}}).Text())
	var read []nft.Element
	if _, err := c.ReadSet("t", want, func(e *nft.Element) error { read = append(read, *e); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(elementsText(want, want.Elements), elementsText(want, read)); diff != "" {
		t.Errorf("slots, wanted (-) and loaded as text (+):\n%s", diff)
	}
}

// TestReadWhatNftWrote reads counters, comments, times and a catch-all element
// that nft has written.
func TestReadWhatNftWrote(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	ns.NftLoad(t, `table inet t {
		map services { type ipv4_addr . inet_proto . inet_service : verdict; counter; elements = {
			10.0.0.1 . tcp . 80 counter packets 5 bytes 700 comment "five" : drop,
			* counter packets 1 bytes 2 : accept } }
		set cidrs { type ipv4_addr; flags interval; counter; elements = {
			10.0.0.0/8 counter packets 7 bytes 9 comment "ten", 224.0.0.0-255.255.255.255 } }
		map learned { type ipv4_addr : ipv4_addr; flags dynamic,timeout; elements = { 1.1.1.1 timeout 2h expires 1h : 2.2.2.2 } }
	}`)
	table := readTable(t, c, "t")
	services, cidrs, learned := table.Set("services"), table.Set("cidrs"), table.Set("learned")
	if diff := gocmp.Diff([]string{
		"-  : accept timeout 0s",
		`0a0000010600000000500000- 10.0.0.1 . tcp . 80 comment "five" : drop timeout 0s`,
	}, elementsText(services, services.Elements)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]string{
		`0a000000-0affffff 10.0.0.0/8 comment "ten" timeout 0s`,
		"e0000000-ffffffff 224.0.0.0/3 timeout 0s",
	}, elementsText(cidrs, cidrs.Elements)); diff != "" {
		t.Error(diff)
	}
	for _, e := range append(services.Elements, cidrs.Elements...) {
		if want := map[string][2]uint64{"five": {5, 700}, "ten": {7, 9}}[e.Comment]; e.Comment != "" && want != [2]uint64{e.Packets, e.Bytes} {
			t.Errorf("element %q has counted %d packets, %d bytes; want %v", e.Comment, e.Packets, e.Bytes, want)
		}
	}
	if e := learned.Elements[0]; e.Timeout != 2*time.Hour || e.Expires <= 0 || e.Expires > time.Hour {
		t.Errorf("the learned element expires in %v of %v, want at most 1h of 2h", e.Expires, e.Timeout)
	}
	tx := nft.NewTransaction(table)
	tx.DeleteElements(services, services.Elements...)
	tx.DeleteElements(cidrs, cidrs.Elements...)
	commit(t, c, tx)
	services.Elements, cidrs.Elements = nil, nil
	wantInKernel(t, c, table)
}
