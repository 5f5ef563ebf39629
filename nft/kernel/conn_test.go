package kernel_test

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// dial opens a Conn in the namespace, to be closed when the test ends.
func dial(t testing.TB, ns *kerneltest.NS, o kernel.Options) *kernel.Conn {
	t.Helper()
	o.NetNS = ns.FD()
	c, err := kernel.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func commit(t testing.TB, c *kernel.Conn, tx *nft.Transaction) kernel.Result {
	t.Helper()
	r, err := c.Commit(tx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestSmoke(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	chain := &nft.Chain{Name: "c", Rules: []nft.Rule{nft.NewRule(nft.CtStateNew(), nft.Verdict{Kind: nft.Accept})}}
	s := &nft.Set{Name: "services4", Key: nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService}, Verdicts: true, Counters: true,
		Elements: []nft.Element{{Key: nft.Value{}.Addr(addr("10.0.0.1")).Protocol(nft.TCP).Port(80), Verdict: nft.GotoChain("c"), Comment: "hi"}}}
	cidr := &nft.Set{Name: "cidr", Key: nft.Types{nft.IPv4Addr}, Interval: true,
		Elements: []nft.Element{{Key: nft.Value{}.Addr(addr("10.0.0.0")), KeyEnd: nft.Value{}.Addr(addr("10.255.255.255")), Comment: "hi"},
			{Key: nft.Value{}.Addr(addr("224.0.0.0")), KeyEnd: nft.Value{}.Addr(addr("255.255.255.255")), Comment: "hi"}}}
	want := &nft.Table{Name: "t", Sets: []*nft.Set{s, cidr}, Chains: []*nft.Chain{chain}}
	r := commit(t, c, nft.Diff(nil, want))
	t.Log(r)
	g, err := c.Generation()
	t.Log(g, err)
	t.Log(ns.Nft(t, "list", "ruleset"))
	snap, err := c.ReadTable("t")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", snap.Table.Text())
	if tx := nft.Diff(snap.Table, want); !tx.IsEmpty() {
		t.Fatal(tx.Lines())
	}
	tx := nft.NewTransaction(want)
	tx.AddElements(s, nft.Element{Key: nft.Value{}.Addr(addr("10.0.0.1")).Protocol(nft.TCP).Port(81), Verdict: nft.GotoChain("nochain"), Comment: "hi"})
	_, err = c.Commit(tx)
	t.Log(err)
}
