package source

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func want(t *testing.T, l *Ledger, expect model.Update) {
	t.Helper()
	got, changed := l.Take()
	if wanted := !cmp.Equal(expect, model.Update{}, comparers); changed != wanted {
		t.Errorf("changed %t, want %t", changed, wanted)
	}
	if d := cmp.Diff(expect, got, comparers); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

var comparers = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestLedgerDeliversWhatDiffers(t *testing.T) {
	l := NewLedger()
	web := model.ServiceName{Namespace: "shop", Name: "web"}
	v1 := &model.Service{Name: web, UID: "1"}
	v2 := &model.Service{Name: web, UID: "2"}
	update := func(s *model.Service) model.Update {
		return model.Update{Services: map[model.ServiceName]*model.Service{web: s}}
	}

	want(t, l, model.Update{})
	l.SetService(web, nil) // was never there
	want(t, l, model.Update{})
	l.SetService(web, v1)
	want(t, l, update(v1))
	l.SetService(web, &model.Service{Name: web, UID: "1"})
	want(t, l, model.Update{})
	l.SetService(web, v2)
	want(t, l, update(v2))
	l.SetService(web, nil)
	want(t, l, update(nil))
	l.SetService(web, v2)
	l.SetService(web, nil)
	l.SetService(web, v1)
	want(t, l, update(v1))
}

func TestLedgerSlices(t *testing.T) {
	l := NewLedger()
	name := model.SliceName{Namespace: "shop", Name: "web-1"}
	s := &model.EndpointSlice{Name: name}
	l.SetSlice(name, s)
	want(t, l, model.Update{Slices: map[model.SliceName]*model.EndpointSlice{name: s}})
	l.SetSlice(name, nil)
	want(t, l, model.Update{Slices: map[model.SliceName]*model.EndpointSlice{name: nil}})
}

func TestLedgerNodeStays(t *testing.T) {
	l := NewLedger()
	n := &model.Node{Name: "a", Zone: "z"}
	l.SetNode(n)
	want(t, l, model.Update{Node: n})
	l.SetNode(nil)
	l.SetNode(&model.Node{Name: "a", Zone: "z"})
	want(t, l, model.Update{})
}

func TestLedgerServiceCIDRs(t *testing.T) {
	l := NewLedger()
	list := func(prefixes ...string) model.Update {
		var ps []netip.Prefix
		for _, p := range prefixes {
			ps = append(ps, netip.MustParsePrefix(p))
		}
		return model.Update{ServiceCIDRs: &ps}
	}
	set := func(name string, prefixes ...string) { l.SetServiceCIDR(name, *list(prefixes...).ServiceCIDRs) }

	l.SetServiceCIDRs(nil)
	want(t, l, list()) // known to be none
	l.SetServiceCIDRs(nil)
	want(t, l, model.Update{})
	set("kubernetes", "fd00:96::/112", "10.96.0.0/16")
	want(t, l, list("10.96.0.0/16", "fd00:96::/112"))
	set("more", "10.97.0.0/16", "10.96.0.0/16")
	want(t, l, list("10.96.0.0/16", "10.97.0.0/16", "fd00:96::/112"))
	set("again", "10.97.0.0/16")
	want(t, l, model.Update{})
	set("kubernetes")
	want(t, l, list("10.96.0.0/16", "10.97.0.0/16"))
	l.SetServiceCIDRs(map[string][]netip.Prefix{"again": {netip.MustParsePrefix("10.97.0.0/16")}})
	want(t, l, list("10.97.0.0/16"))
}

func TestLedgerProblems(t *testing.T) {
	l := NewLedger()
	ref := model.ObjectRef{Kind: "Service", Namespace: "shop", Name: "web"}
	found := []model.Problem{{Field: "spec.clusterIP", Message: "is odd"}}
	update := func(p []model.Problem) model.Update {
		return model.Update{Problems: map[model.ObjectRef][]model.Problem{ref: p}}
	}
	l.SetProblems(ref, nil)
	want(t, l, model.Update{})
	l.SetProblems(ref, found)
	want(t, l, update(found))
	l.SetProblems(ref, append([]model.Problem(nil), found...))
	want(t, l, model.Update{})
	l.SetProblems(ref, nil)
	want(t, l, update(nil))
}
