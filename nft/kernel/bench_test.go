package kernel_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// cluster is a table of a cluster's shape: services, each with backends in a map
// of slots.
type cluster struct {
	table              *nft.Table
	services, backends *nft.Set
}

// newCluster makes a table with a verdict element per service and a data element
// per backend.
func newCluster(services, backends int) *cluster {
	frontend := nft.Types{nft.IPv4Addr, nft.InetProto, nft.InetService}
	c := &cluster{
		services: &nft.Set{Name: "services4", Key: frontend, Verdicts: true},
		backends: &nft.Set{Name: "backends4", Key: append(frontend[:3:3], nft.Mark), Data: nft.Types{nft.IPv4Addr, nft.InetService}},
	}
	for s := range services {
		c.services.Elements = append(c.services.Elements, nft.Element{
			Key: frontendKey(s), Verdict: nft.GotoChain("lb4-16"), Comment: fmt.Sprintf("namespace/service-%d:http", s),
		})
		for b := range backends {
			c.backends.Elements = append(c.backends.Elements, backend(s, b))
		}
	}
	slots := func(mod uint32) nft.Rule {
		return nft.NewRule(nft.DNAT("backends4", nft.IPDaddr, nft.L4Proto, nft.ThDport, nft.NumgenRandom(mod)))
	}
	services4 := nft.NewRule(nft.Vmap("services4", nft.IPDaddr, nft.L4Proto, nft.ThDport))
	c.table = &nft.Table{
		Name: "cluster", Sets: []*nft.Set{c.services, c.backends},
		Chains: []*nft.Chain{
			{Name: "lb4-16", Rules: []nft.Rule{slots(16), slots(16), slots(1)}},
			{Name: "services", Rules: []nft.Rule{services4, services4}},
			{Name: "prerouting", Base: &nft.Base{Type: nft.NATChain, Hook: nft.Prerouting, Priority: -105},
				Rules: []nft.Rule{nft.NewRule(nft.JumpChain("services"))}},
		},
	}
	return c
}

func frontendKey(service int) nft.Value {
	return nft.Value{}.Addr(numbered(10<<24|96<<16, service)).Protocol(nft.TCP).Port(80)
}

func backend(service, slot int) nft.Element {
	return nft.Element{
		Key:  frontendKey(service).Mark(uint32(slot)),
		Data: nft.Value{}.Addr(numbered(10<<24|128<<16, service*16+slot)).Port(8080),
	}
}

func numbered(base uint32, n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+uint32(n))))
}

func BenchmarkCommitOneElement(b *testing.B) {
	for _, services := range []int{1_000, 10_000, 30_000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			c := dial(b, kerneltest.Namespace(b), kernel.Options{})
			have := newCluster(services, 10)
			commit(b, c, nft.Diff(nil, have.table))
			e := backend(services/2, 10)
			for b.Loop() {
				add := nft.NewTransaction(have.table)
				add.AddElements(have.backends, e)
				commit(b, c, add)
				del := nft.NewTransaction(have.table)
				del.DeleteElements(have.backends, e)
				commit(b, c, del)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, services := range []int{1_000, 10_000, 30_000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			c := dial(b, kerneltest.Namespace(b), kernel.Options{})
			want := newCluster(services, 10)
			for b.Loop() {
				tx := nft.Diff(nil, want.table)
				tx.ReplaceTable()
				commit(b, c, tx)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/load")
		})
	}
}

func BenchmarkReadSet(b *testing.B) {
	c := dial(b, kerneltest.Namespace(b), kernel.Options{})
	have := newCluster(10_000, 10)
	commit(b, c, nft.Diff(nil, have.table))
	wantInKernel(b, c, have.table) // once the kernel has built its hash tables
	for b.Loop() {
		n := 0
		if _, err := c.ReadSet("cluster", have.backends, func(*nft.Element) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
		if n != 100_000 {
			b.Fatalf("read %d elements, want 100000", n)
		}
	}
}

func BenchmarkGeneration(b *testing.B) {
	c := dial(b, kerneltest.Namespace(b), kernel.Options{})
	for b.Loop() {
		if _, err := c.Generation(); err != nil {
			b.Fatal(err)
		}
	}
}
