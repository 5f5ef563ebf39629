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

func ref(kind, namespace, name string) model.ObjectRef {
	return model.ObjectRef{Kind: kind, Namespace: namespace, Name: name}
}

func TestLedgerDeliversWhatDiffers(t *testing.T) {
	l := NewLedger()
	web := model.ServiceName{Namespace: "shop", Name: "web"}
	v1 := &model.Service{Name: web, UID: "1"}
	v2 := &model.Service{Name: web, UID: "2"}
	set := func(v any) { l.Set(Object{Ref: ref(KindService, "shop", "web"), Value: v}) }
	update := func(s *model.Service) model.Update {
		return model.Update{Services: map[model.ServiceName]*model.Service{web: s}}
	}

	want(t, l, model.Update{})
	set(nil) // was never there
	want(t, l, model.Update{})
	set(v1)
	want(t, l, update(v1))
	set(&model.Service{Name: web, UID: "1"})
	want(t, l, model.Update{})
	set(v2)
	want(t, l, update(v2))
	set(nil)
	want(t, l, update(nil))
	set(v2)
	set(nil)
	set(v1)
	want(t, l, update(v1))
}

func TestLedgerSlices(t *testing.T) {
	l := NewLedger()
	name := model.SliceName{Namespace: "shop", Name: "web-1"}
	s := &model.EndpointSlice{Name: name}
	l.Set(Object{Ref: ref(KindEndpointSlice, "shop", "web-1"), Value: s})
	want(t, l, model.Update{Slices: map[model.SliceName]*model.EndpointSlice{name: s}})
	l.Set(Object{Ref: ref(KindEndpointSlice, "shop", "web-1")})
	want(t, l, model.Update{Slices: map[model.SliceName]*model.EndpointSlice{name: nil}})
}

func TestLedgerNodeStays(t *testing.T) {
	l := NewLedger()
	n := &model.Node{Name: "a", Zone: "z"}
	l.Set(Object{Ref: ref(KindNode, "", "a"), Value: n})
	want(t, l, model.Update{Node: n})
	l.Set(Object{Ref: ref(KindNode, "", "a")})
	l.Set(Object{Ref: ref(KindNode, "", "a"), Value: &model.Node{Name: "a", Zone: "z"}})
	want(t, l, model.Update{})
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range list {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

func TestLedgerServiceCIDRs(t *testing.T) {
	l := NewLedger()
	update := func(list ...string) model.Update {
		ps := prefixes(list...)
		return model.Update{ServiceCIDRs: &ps}
	}
	set := func(name string, list ...string) {
		l.Set(Object{Ref: ref(KindServiceCIDR, "", name), Value: prefixes(list...)})
	}

	want(t, l, model.Update{})
	l.TellServiceCIDRs()
	want(t, l, update()) // known to be none
	l.TellServiceCIDRs()
	want(t, l, model.Update{})
	set("kubernetes", "fd00:96::/112", "10.96.0.0/16")
	want(t, l, update("10.96.0.0/16", "fd00:96::/112"))
	set("more", "10.97.0.0/16", "10.96.0.0/16")
	want(t, l, update("10.96.0.0/16", "10.97.0.0/16", "fd00:96::/112"))
	set("again", "10.97.0.0/16")
	want(t, l, model.Update{})
	set("kubernetes")
	want(t, l, update("10.96.0.0/16", "10.97.0.0/16"))
	l.Retain(func(r model.ObjectRef) bool { return r.Name == "again" })
	want(t, l, update("10.97.0.0/16"))
}

func TestLedgerProblems(t *testing.T) {
	l := NewLedger()
	web := ref(KindService, "shop", "web")
	found := []model.Problem{{Field: "spec.clusterIP", Message: "is odd"}}
	update := func(p []model.Problem) model.Update {
		return model.Update{Problems: map[model.ObjectRef][]model.Problem{web: p}}
	}
	l.Set(Object{Ref: web})
	want(t, l, model.Update{})
	l.Set(Object{Ref: web, Problems: found})
	want(t, l, update(found))
	l.SetProblems(web, append([]model.Problem(nil), found...))
	want(t, l, model.Update{})
	l.Set(Object{Ref: web})
	want(t, l, update(nil))
}

func TestLedgerRetains(t *testing.T) {
	l := NewLedger()
	found := []model.Problem{{Field: "spec", Message: "is odd"}}
	all := []Object{
		{Ref: ref(KindService, "shop", "kept"), Value: &model.Service{}, Problems: found},
		{Ref: ref(KindService, "shop", "gone"), Value: &model.Service{}, Problems: found},
		{Ref: ref(KindEndpointSlice, "shop", "kept"), Value: &model.EndpointSlice{}},
		{Ref: ref(KindEndpointSlice, "shop", "gone"), Value: &model.EndpointSlice{}},
		{Ref: ref(KindServiceCIDR, "", "problems"), Problems: found},
	}
	for _, o := range all {
		l.Set(o)
	}
	l.Take()
	l.Retain(func(r model.ObjectRef) bool { return r.Name == "kept" })
	want(t, l, model.Update{
		Services: map[model.ServiceName]*model.Service{{Namespace: "shop", Name: "gone"}: nil},
		Slices:   map[model.SliceName]*model.EndpointSlice{{Namespace: "shop", Name: "gone"}: nil},
		Problems: map[model.ObjectRef][]model.Problem{all[1].Ref: nil, all[4].Ref: nil},
	})
}
