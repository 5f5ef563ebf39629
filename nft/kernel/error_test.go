package kernel_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

// refusalCase is a transaction that the kernel refuses, and what is said of it.
type refusalCase struct {
	name   string
	change func(tx *nft.Transaction, have *cluster)
	errno  unix.Errno
	text   string
}

func elementRefusals() []refusalCase {
	return []refusalCase{
		{"missing chain", func(tx *nft.Transaction, have *cluster) {
			tx.AddElements(have.services, nft.Element{Key: frontendKey(900), Verdict: nft.GotoChain("lb4-999")})
		}, unix.ENOENT, "add element services4 { 10.96.3.132 . tcp . 80 : goto lb4-999 }: no such file or directory (do the set and the chain exist?)"},
		{"missing chain among many", func(tx *nft.Transaction, have *cluster) {
			for i := range 3000 {
				e := nft.Element{Key: frontendKey(1000 + i), Verdict: nft.GotoChain("lb4-16"), Comment: "x"}
				if i == 2500 {
					e.Verdict.Chain = "lb4-999"
				}
				tx.AddElements(have.services, e)
			}
		}, unix.ENOENT, `add element services4 { 10.96.13.172 . tcp . 80 comment "x" : goto lb4-999 }: no such file or directory (do the set and the chain exist?)`},
		{"existing key with another value", func(tx *nft.Transaction, have *cluster) {
			e := backend(0, 0)
			e.Data = address("1.1.1.1").Port(1)
			tx.AddElements(have.backends, backend(0, 5), e)
		}, unix.EEXIST, "add element backends4 { 10.96.0.0 . tcp . 80 . 0x00000000 : 1.1.1.1 . 1 }: file exists (the key is there with another value)"},
		{"missing element", func(tx *nft.Transaction, have *cluster) {
			tx.DeleteElements(have.backends, backend(0, 0), backend(0, 7))
		}, unix.ENOENT, "delete element backends4 { 10.96.0.0 . tcp . 80 . 0x00000007 }: no such file or directory (no such element, or no such set)"},
		{"full set", func(tx *nft.Transaction, _ *cluster) {
			full := &nft.Set{Name: "full", Key: nft.Types{nft.InetService}, Size: 2, Elements: []nft.Element{
				{Key: nft.Value{}.Port(1)}, {Key: nft.Value{}.Port(2)}, {Key: nft.Value{}.Port(3)},
			}}
			tx.AddSet(full)
		}, unix.ENFILE, "add element full { 3 }: too many open files in system (the set is full; its size must grow)"},
		{"unknown set", func(tx *nft.Transaction, have *cluster) {
			unknown := *have.services
			unknown.Name = "unknown"
			// Not in the first message, which has one element: kernel 6.1 does not say
			// that it is the set, and one alone would be blamed.
			tx.AddSet(&nft.Set{Name: "known", Key: unknown.Key})
			tx.AddElements(&unknown, have.services.Elements...)
		}, unix.ENOENT, `add element unknown: no such file or directory (do the set and the chain exist?)`},
	}
}

func objectRefusals() []refusalCase {
	return []refusalCase{
		{"set that is there", func(tx *nft.Transaction, have *cluster) {
			tx.AddSet(&nft.Set{Name: "backends4", Key: nft.Types{nft.Mark}})
		}, unix.EEXIST, "add set backends4: file exists (it exists, and what is known of the kernel is out of date)"},
		{"chain that is there", func(tx *nft.Transaction, have *cluster) {
			tx.AddChain(&nft.Chain{Name: "services"})
		}, unix.EEXIST, "add chain services: file exists (it exists, and what is known of the kernel is out of date)"},
		{"rule with an unknown set", func(tx *nft.Transaction, have *cluster) {
			tx.AddChain(&nft.Chain{Name: "new", Rules: []nft.Rule{nft.NewRule(nft.Vmap("unknown", nft.IPDaddr))}})
		}, unix.ENOENT, "add rule new ip daddr vmap @unknown: no such file or directory (do the chain, and the chains and sets that the rule names, exist?)"},
		{"chain in use", func(tx *nft.Transaction, have *cluster) {
			tx.DeleteChain(&nft.Chain{Name: "lb4-16"})
		}, unix.EBUSY, "delete chain lb4-16: device or resource busy (something still refers to it)"},
		{"set in use", func(tx *nft.Transaction, have *cluster) {
			tx.DeleteSet(have.backends)
		}, unix.EBUSY, "delete set backends4: device or resource busy (something still refers to it)"},
		{"circle", func(tx *nft.Transaction, have *cluster) {
			tx.AddChain(&nft.Chain{Name: "circle", Rules: []nft.Rule{nft.NewRule(nft.JumpChain("services"))}})
			tx.AddElements(have.services, nft.Element{Key: frontendKey(900), Verdict: nft.GotoChain("circle")})
		}, unix.EMLINK, "add element services4 { 10.96.3.132 . tcp . 80 : goto circle }: too many links (chains lead to each other in a circle, or too deep)"},
		{"circle of rules", func(tx *nft.Transaction, have *cluster) {
			jump := func(chain string) []nft.Rule { return []nft.Rule{nft.NewRule(nft.JumpChain(chain))} }
			tx.AddElements(have.services, nft.Element{Key: frontendKey(900), Verdict: nft.GotoChain("lb4-16")})
			tx.AddChain(&nft.Chain{Name: "one", Rules: jump("two")})
			tx.AddChain(&nft.Chain{Name: "two", Rules: jump("one")})
			tx.AddChain(&nft.Chain{Name: "base", Base: &nft.Base{Type: nft.FilterChain, Hook: nft.Input}, Rules: jump("two")})
		}, unix.EMLINK, "add rule base jump two: too many links (chains lead to each other in a circle, or too deep)"},
		{"statement in the wrong hook", func(tx *nft.Transaction, have *cluster) {
			tx.AddChain(&nft.Chain{Name: "bad", Base: &nft.Base{Type: nft.NATChain, Hook: nft.Input}})
			tx.AddChain(&nft.Chain{Name: "bad2", Base: &nft.Base{Type: nft.FilterChain, Hook: nft.Input}, Rules: []nft.Rule{nft.NewRule(nft.Masquerade())}})
		}, unix.EOPNOTSUPP, "add rule bad2 masquerade fully-random: operation not supported (the kernel lacks a feature this needs)"},
	}
}

// TestCommitErrors holds each refusal to the object that it names.
func TestCommitErrors(t *testing.T) {
	for _, tt := range slices.Concat(elementRefusals(), objectRefusals()) {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, kerneltest.Namespace(t), kernel.Options{})
			have := newCluster(3, 3)
			commit(t, c, nft.Diff(nil, have.table))
			tx := nft.NewTransaction(have.table)
			tt.change(tx, have)
			_, err := c.Commit(tx)
			var e *kernel.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if e.Errno != tt.errno || !errors.Is(err, tt.errno) {
				t.Errorf("errno %v (%d), want %v", e.Errno, e.Errno, tt.errno)
			}
			if got := e.Error(); got != tt.text {
				t.Errorf("error\n%s\nwant\n%s", got, tt.text)
			}
			if errors.Is(err, kernel.ErrUncertain) {
				t.Error("a refusal is uncertain")
			}
			wantInKernel(t, c, have.table)
		})
	}
}
