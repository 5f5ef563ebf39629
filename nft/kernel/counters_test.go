package kernel_test

import (
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// TestCountersGoOn: an element that is replaced begins with the count it is given,
// in verdict maps and in maps of values.
func TestCountersGoOn(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	tcp80 := func(a string) nft.Value { return address(a).Protocol(nft.TCP).Port(80) }
	frontend := nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService}
	verdicts := &nft.Set{Name: "services4", Key: frontend, Verdicts: true, Counters: true, Elements: []nft.Element{
		{Key: tcp80("10.0.0.1"), Verdict: nft.GotoChain("a"), Comment: "shop/web"},
		{Key: tcp80("10.0.0.2"), Verdict: nft.GotoChain("a")},
	}}
	values := &nft.Set{Name: "backends4", Key: append(frontend, nft.Mark), Data: nft.Types{nft.IPv4Addr, nft.InetService}, Counters: true,
		Elements: []nft.Element{{Key: tcp80("10.0.0.1").Mark(0), Data: address("10.1.0.1").Port(8080), Packets: 5, Bytes: 500}}}
	table := &nft.Table{Name: "counted", Sets: []*nft.Set{verdicts, values}, Chains: []*nft.Chain{{Name: "a"}, {Name: "b"}}}
	commit(t, c, nft.Diff(nil, table))

	tx := nft.NewTransaction(table)
	tx.ReplaceElement(verdicts, nft.Element{Key: tcp80("10.0.0.1"), Verdict: nft.GotoChain("b"), Comment: "shop/web"})
	tx.AddElements(verdicts, nft.Element{Key: tcp80("10.0.0.3"), Verdict: nft.GotoChain("b")})
	for set, e := range tx.Recounted() {
		if set != verdicts || e.Key != tcp80("10.0.0.1") {
			t.Errorf("%s is taken for replaced", e.Text(set))
		}
		e.Packets, e.Bytes = 42, 4200
	}
	commit(t, c, tx)

	for _, want := range []struct {
		set     *nft.Set
		key     nft.Value
		packets uint64
		found   bool
	}{
		{verdicts, tcp80("10.0.0.1"), 42, true}, {verdicts, tcp80("10.0.0.3"), 0, true}, {verdicts, tcp80("10.0.0.9"), 0, false},
		{values, tcp80("10.0.0.1").Mark(0), 5, true}, {values, tcp80("10.0.0.1").Mark(1), 0, false},
	} {
		e, found, err := c.ReadElement("counted", want.set, want.key)
		if err != nil || found != want.found || e.Packets != want.packets || found && e.Key != want.key {
			t.Errorf("element %s: %+v, %v, %v", want.key.Text(want.set.Key), e, found, err)
		}
	}
	counts := map[nft.Value]uint64{}
	if err := c.ReadCounters("counted", verdicts, func(e *nft.Element) { counts[e.Key] = e.Packets }); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 3 || counts[tcp80("10.0.0.1")] != 42 {
		t.Errorf("counts %v", counts)
	}
	if listed := ns.Nft(t, "list", "table", "inet", "counted"); !strings.Contains(listed, "counter packets 42 bytes 4200") {
		t.Errorf("nft lists\n%s", listed)
	}
	if _, _, err := c.ReadElement("counted", &nft.Set{Name: "none", Key: frontend}, tcp80("10.0.0.1")); err != nil {
		t.Errorf("a set that is not there: %v", err)
	}
}
