package ruleset

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseExternalIPs(t *testing.T) {
	for _, test := range []struct{ in, want, allowed, refused string }{
		{in: "all", want: "all", allowed: "192.0.2.1 ::1"},
		{in: "none", want: "none", refused: "192.0.2.1 ::1"},
		{in: "203.0.113.9/24, 2001:db8::/64", want: "203.0.113.0/24,2001:db8::/64",
			allowed: "203.0.113.255 2001:db8::1", refused: "203.0.114.0 2001:db9::1"},
	} {
		e, err := ParseExternalIPs(strings.Split(test.in, ","))
		if err != nil || e.String() != test.want {
			t.Errorf("%s: %v, %v", test.in, e, err)
		}
		for _, a := range strings.Fields(test.allowed) {
			if !e.Allow(netip.MustParseAddr(a)) {
				t.Errorf("%s does not allow %s", test.in, a)
			}
		}
		for _, a := range strings.Fields(test.refused) {
			if e.Allow(netip.MustParseAddr(a)) {
				t.Errorf("%s allows %s", test.in, a)
			}
		}
		if again, err := ParseExternalIPs(strings.Split(e.String(), ",")); err != nil || !again.Equal(&e) {
			t.Errorf("%s: read back as %v, %v", test.in, again, err)
		}
	}
	for _, in := range []string{"", "203.0.113.9", "all,203.0.113.0/24", "none,all", "some"} {
		if e, err := ParseExternalIPs(strings.Split(in, ",")); err == nil {
			t.Errorf("%q is read as %s", in, e)
		}
	}
	if _, err := ParseExternalIPs(nil); err == nil {
		t.Error("nothing is read")
	}
}
