package ruleset

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// What was read and is wanted must not be looked at again: after a restart that would be
// the whole cluster at each change.
func TestAddressesThatAgreeAreLeftAlone(t *testing.T) {
	s := newAddressSet(addressKind{}, 0)
	wanted, unwanted, missing := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.2"), netip.MustParseAddr("10.96.0.3")
	s.read(wanted)
	s.read(unwanted)
	s.set(model.ServiceName{Name: "a"}, []netip.Addr{wanted})
	if c := s.next(false); len(c.add)+len(c.del) > 0 {
		t.Errorf("a plan before the last one: %+v, want nothing", c)
	}
	s.commit(s.next(false), false)
	s.set(model.ServiceName{Name: "b"}, []netip.Addr{missing})
	c := s.next(true)
	if !slices.Equal(c.add, []netip.Addr{missing}) || !slices.Equal(c.del, []netip.Addr{unwanted}) {
		t.Errorf("the last plan: %+v, want %s added and %s deleted", c, missing, unwanted)
	}
	if s.commit(c, true); len(s.touched) != 0 {
		t.Errorf("after the last plan %v may differ, want none", s.touched)
	}
}

// While a table is loaded in steps, each writes its own addresses: all at once would be
// the most memory that the load takes.
func TestAddressesAreLoadedInSteps(t *testing.T) {
	s := newAddressSet(addressKind{}, 0)
	one, two := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.2")
	for i, step := range []struct {
		add  netip.Addr
		last bool
	}{{one, false}, {two, true}} {
		s.set(model.ServiceName{Name: step.add.String()}, []netip.Addr{step.add})
		c := s.next(step.last)
		if !slices.Equal(c.add, []netip.Addr{step.add}) || len(c.del) > 0 {
			t.Errorf("step %d: %+v, want %s added", i, c, step.add)
		}
		if s.commit(c, step.last); len(s.touched) != 0 {
			t.Errorf("after step %d %v may differ, want none", i, s.touched)
		}
	}
}
