package rulesettest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// table is one with a Service of three backends, of which the last is given.
func table(last byte) *nft.Table {
	web := model.ServiceName{Namespace: "shop", Name: "web"}
	slice := &model.EndpointSlice{
		Name: model.SliceName{Namespace: "shop", Name: "web-1"}, Service: web,
		Ports: []model.EndpointPort{{Protocol: model.TCP, Port: 8080}},
	}
	for _, n := range []byte{11, 12, last} {
		slice.Endpoints = append(slice.Endpoints, model.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 244, 0, n}), State: model.Ready | model.Serving,
		})
	}
	config := proxy.DefaultConfig()
	config.NodeName = "node-a"
	return proxy.Render(config, model.Update{
		Services: map[model.ServiceName]*model.Service{web: {
			Name: web, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
			Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80}},
		}},
		Slices: map[model.SliceName]*model.EndpointSlice{slice.Name: slice},
	})
}

// TestCompare holds what is a difference, and what is none.
func TestCompare(t *testing.T) {
	slots := func(t *nft.Table) *nft.Set { return t.Set("backends4") }
	for name, c := range map[string]struct {
		change func(*nft.Table)
		want   string // in the lines; empty if there are none
	}{
		"nothing": {func(*nft.Table) {}, ""},
		"backends in other slots": {func(t *nft.Table) {
			a, b := &slots(t).Elements[0], &slots(t).Elements[1]
			a.Data, b.Data = b.Data, a.Data
		}, ""},
		"a backend in place of another": {func(t *nft.Table) { slots(t).Elements = slots(table(14)).Elements }, "- have backends4"},
		"a backend too few":             {func(t *nft.Table) { slots(t).Elements = slots(t).Elements[:2] }, "+ want backends4"},
		"nothing in slot 0":             {func(t *nft.Table) { slots(t).Elements = slots(t).Elements[1:] }, "slot 0 is empty"},
		"no verdict":                    {func(t *nft.Table) { t.Set("services4").Elements = nil }, "+ want services4"},
		"dormant":                       {func(t *nft.Table) { t.Dormant = true }, "other flags"},
		"an owner":                      {func(t *nft.Table) { t.Owned = true }, "other flags"},
		"no chain":                      {func(t *nft.Table) { t.Chains = t.Chains[1:] }, "+ want chain"},
		"another rule":                  {func(t *nft.Table) { t.Chains[0].Rules = t.Chains[0].Rules[1:] }, "+ want " + table(13).Chains[0].Name},
	} {
		t.Run(name, func(t *testing.T) {
			have := table(13)
			c.change(have)
			lines := rulesettest.Compare(have, table(13))
			if found := strings.Contains(fmt.Sprint(lines), c.want); !found || c.want == "" && len(lines) > 0 {
				t.Errorf("have %q, want %q", lines, c.want)
			}
		})
	}
	if lines := rulesettest.Compare(nil, table(13)); len(lines) != 1 {
		t.Errorf("of no table: %q", lines)
	}
}
