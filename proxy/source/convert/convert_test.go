package convert

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// compare holds values to what was wanted; nil and empty lists are the same.
func compare(t *testing.T, got, want any) {
	t.Helper()
	opts := cmp.Options{
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if d := cmp.Diff(want, got, opts); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// compareProblems holds problems to the lines wanted, "field: message".
func compareProblems(t *testing.T, got []model.Problem, want ...string) {
	t.Helper()
	var lines []string
	for _, p := range got {
		lines = append(lines, p.String())
	}
	compare(t, lines, want)
}

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func ranges(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func TestParseAddr(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"10.0.0.1", "10.0.0.1"},
		{"010.000.000.001", "10.0.0.1"},
		{"10.0.0.08", "10.0.0.8"},
		{"::ffff:10.0.0.1", "10.0.0.1"},
		{"::ffff:a00:1", "10.0.0.1"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"2001:db8::010.0.0.1", "2001:db8::a00:1"},
		{"0.0.0.0", "0.0.0.0"},
		{"", ""},
		{" 10.0.0.1", ""},
		{"10.0.0.1 ", ""},
		{"10.0.0.256", ""},
		{"10.0.0", ""},
		{"10.0.0.1/32", ""},
		{"10.0.0.1:80", ""},
		{"fe80::1%eth0", ""},
		{"example.com", ""},
	} {
		got, err := parseAddr(row.in)
		if row.want == "" {
			if err == nil {
				t.Errorf("%q: read as %s, want an error", row.in, got)
			}
			continue
		}
		if err != nil || got.String() != row.want {
			t.Errorf("%q: %s, %v, want %s", row.in, got, err, row.want)
		}
	}
}

func TestParseServingAddr(t *testing.T) {
	for in, sound := range map[string]bool{
		"192.0.2.1": true, "169.254.169.254": true, "2001:db8::1": true, "fd00::1": true, "255.255.255.255": true,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "127.9.9.9": false, "::1": false, "::ffff:127.0.0.1": false,
		"224.0.0.1": false, "ff02::1": false, "fe80::1": false,
	} {
		if a, err := parseServingAddr(in); (err == nil) != sound {
			t.Errorf("%s: %s, %v", in, a, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{" 10.0.0.0/8\t", "10.0.0.0/8"},
		{"010.0.0.0/8", "10.0.0.0/8"},
		{"010.1.2.3/8", "10.0.0.0/8"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"10.0.0.0/0", "0.0.0.0/0"},
		{"::/0", "::/0"},
		{"2001:DB8::1/32", "2001:db8::/32"},
		{"::ffff:10.1.2.3/104", "10.0.0.0/8"},
		{"::ffff:010.1.2.3/104", "10.0.0.0/8"},
		{"::ffff:0:0/96", "0.0.0.0/0"},
		{"::ffff:10.0.0.0/64", ""},
		{"", ""},
		{"10.0.0.0", ""},
		{"10.0.0.0/33", ""},
		{"10.0.0.0/-1", ""},
		{"10.0.0.0 /8", ""},
		{"2001:db8::/129", ""},
		{"fe80::1%eth0/64", ""},
	} {
		got, err := parsePrefix(row.in)
		if row.want == "" {
			if err == nil {
				t.Errorf("%q: read as %s, want an error", row.in, got)
			}
			continue
		}
		if err != nil || got.String() != row.want {
			t.Errorf("%q: %s, %v, want %s", row.in, got, err, row.want)
		}
	}
}
