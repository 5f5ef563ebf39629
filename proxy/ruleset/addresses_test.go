package ruleset

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// What was read and is wanted must not be looked at again: after a restart that would be
// the whole cluster at each change.
func TestAddressesThatAgreeAreLeftAlone(t *testing.T) {
	s := newAddressSet(0)
	wanted, unwanted := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.2")
	s.read(wanted)
	s.read(unwanted)
	s.set(model.ServiceName{Name: "a"}, []netip.Addr{wanted})
	s.commit(s.additions())
	if _, ok := s.touched[unwanted]; !ok || len(s.touched) != 1 {
		t.Errorf("before the last plan %v may differ, want %s alone", s.touched, unwanted)
	}
	c := s.diff()
	if len(c.add) != 0 || len(c.del) != 1 || c.del[0] != unwanted {
		t.Errorf("the last plan: %+v, want %s deleted", c, unwanted)
	}
	if s.commit(c); len(s.touched) != 0 {
		t.Errorf("after the last plan %v may differ, want none", s.touched)
	}
}
