package takeover

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// restore runs an iptables-restore in the namespace of the calling thread.
func restore(t *testing.T, program, rules string) {
	t.Helper()
	cmd := exec.Command(program, "--noflush")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s (make setup installs it): %v: %s", program, err, out)
	}
}

const (
	someRules = "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A KUBE-SERVICES -j KUBE-SVC-A\nCOMMIT\n"
	oneMore   = "*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n"
)

// TestCollisionLegacy: a table that was changed after it was read is not replaced.
func TestCollisionLegacy(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		restore(t, "iptables-legacy-restore", someRules)
		s, err := openLegacy(unix.NFPROTO_IPV4)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		old, err := s.read("nat")
		if err != nil {
			t.Fatal(err)
		}
		restore(t, "iptables-legacy-restore", oneMore)
		p := old.table(unix.NFPROTO_IPV4).plan()
		changed, left := old.without(&p)
		if err := s.replace(old, changed, left); !errors.Is(err, errChanged) {
			t.Errorf("error %v", err)
		}
		checkCleaned(t, "nat")
	})
}

// checkCleaned checks that a second try succeeds.
func checkCleaned(t *testing.T, table string) {
	t.Helper()
	var removed []string
	c := &cleaner{Options{Tell: func(f Finding) { removed = append(removed, f.Object) }}}
	if err := errors.Join(c.cleanNFTables(), c.cleanLegacy()); err != nil || len(removed) != 3 {
		t.Errorf("clean %s again: %v, %v", table, removed, err)
	}
}

// TestCollisionNFTables: neither is a table of nf_tables, of which nothing is
// changed then.
func TestCollisionNFTables(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		restore(t, "iptables-nft-restore", someRules)
		s, err := dialNfnetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		nat, generation, err := s.readTable(unix.NFPROTO_IPV4, "nat")
		if err != nil {
			t.Fatal(err)
		}
		restore(t, "iptables-nft-restore", oneMore)
		if err := s.execute(nat, nat.plan(), generation); !errors.Is(err, errChanged) {
			t.Errorf("error %v", err)
		}
		checkCleaned(t, "nat")
	})
}

// TestCommitNamesTheObject: the error of a transaction says which change failed.
func TestCommitNamesTheObject(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		restore(t, "iptables-nft-restore", someRules)
		s, err := dialNfnetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		nat, _, err := s.readTable(unix.NFPROTO_IPV4, "nat")
		if err != nil {
			t.Fatal(err)
		}
		p := nat.plan()
		p.jumps = nil // KUBE-SERVICES is in use, then
		err = s.execute(nat, p, 0)
		if err == nil || !strings.Contains(err.Error(), "KUBE-SERVICES") || !errors.Is(err, unix.EBUSY) {
			t.Errorf("error %v", err)
		}
	})
}

// TestGivesUp: a writer that is always faster ends it.
func TestGivesUp(t *testing.T) {
	n := 0
	err := retry(func() error { n++; return errChanged })
	if err == nil || n != attempts || !strings.Contains(err.Error(), "stop kube-proxy") {
		t.Errorf("%d attempts: %v", n, err)
	}
}

// TestBlob: a table without anything of kube-proxy is made again byte for byte,
// and of one that is cut off anywhere only an error is made.
func TestBlob(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		for program, f := range map[string]family{"iptables-legacy-restore": unix.NFPROTO_IPV4, "ip6tables-legacy-restore": unix.NFPROTO_IPV6} {
			restore(t, program, someRules+oneMore)
			s, err := openLegacy(f)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			b, err := s.read("nat")
			if err != nil {
				t.Fatal(err)
			}
			same, left := b.without(&plan{})
			if string(same.bytes) != string(b.bytes) || same.entry != b.entry || same.underflow != b.underflow || len(left) != len(b.entries) {
				t.Errorf("%s: %d entries made again, chains at %v and %v: %x\nwas: %d entries, chains at %v and %v: %x",
					f, len(left), same.entry, same.underflow, same.bytes, len(b.entries), b.entry, b.underflow, b.bytes)
			}
			for n := range b.bytes {
				cut := &blob{layout: b.layout, name: b.name, validHooks: b.validHooks, entry: b.entry, underflow: b.underflow, bytes: b.bytes[:n]}
				if cut.parse() == nil {
					t.Errorf("%s: %d of %d bytes are a table", f, n, len(b.bytes))
				}
			}
		}
	})
}

// FuzzBlob: no bytes make the parser or what works on its result panic.
func FuzzBlob(f *testing.F) {
	f.Add([]byte{}, uint32(0), uint32(0), true)
	f.Add(minimalBlob(), uint32(0), uint32(0), false)
	f.Fuzz(func(_ *testing.T, b []byte, first, policy uint32, v6 bool) {
		fam := map[bool]family{false: unix.NFPROTO_IPV4, true: unix.NFPROTO_IPV6}[v6]
		x := &blob{layout: layouts[fam], name: "nat", validHooks: 1, bytes: b}
		x.entry[0], x.underflow[0] = first, policy
		if x.parse() != nil {
			return
		}
		p := x.table(fam).plan()
		x.without(&p)
	})
}

// minimalBlob is a policy and the end, of IPv4.
func minimalBlob() []byte {
	entry := func(target int) []byte {
		b := make([]byte, layouts[unix.NFPROTO_IPV4].size+target)
		b[88], b[90] = 112, byte(112+target)
		return b
	}
	policy, last := entry(40), entry(64)
	copy(last[112+targetName:], end)
	copy(last[112+sizeofTarget:], end)
	return append(policy, last...)
}
