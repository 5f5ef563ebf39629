package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// frontendOf is a frontend as the kernel may have it.
func frontendOf(service, addr string, kind model.FrontendKind, connections uint64) proxy.CountedFrontend {
	return proxy.CountedFrontend{FrontendStatus: ruleset.FrontendStatus{
		Service: service, Kind: kind, Key: model.FrontendKey{Addr: netip.MustParseAddr(addr), Port: 30080, Protocol: model.SCTP},
		Policy: model.PolicyLocal, Blocked: ruleset.Drop, Class: 1, Slots: ruleset.Slots{netip.MustParseAddrPort("10.1.0.1:80")},
	}, Connections: connections}
}

// TestServicesFitThePage: 100 columns, with the longest address and name.
func TestServicesFitThePage(t *testing.T) {
	long := strings.Repeat("a", 63)
	all := proxy.CountedFrontends{Exists: true, Counted: true, List: []proxy.CountedFrontend{
		frontendOf(long+"/"+long+":"+long[:15], "2001:db8:1111:2222:3333:4444:5555:6666", model.LoadBalancerIP, 123456),
		frontendOf("shop/web:http", "10.96.0.10", model.ClusterIP, 7),
	}}
	var out strings.Builder
	if err := printFrontends(&out, all.List, &all, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len(strings.TrimRight(line, "\n")); n > pageWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	list := all.List[1:]
	out.Reset()
	if err := printFrontends(&out, list, &all, false); err != nil {
		t.Fatal(err)
	}
	const want = "shop/web:http  10.96.0.10:30080/SCTP  ClusterIP  1, local 0: drop  7\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("%s", out.String())
	}
}

// TestServiceFilter chooses by each of its fields.
func TestServiceFilter(t *testing.T) {
	all := []proxy.CountedFrontend{
		frontendOf("shop/web:http", "10.96.0.10", model.ClusterIP, 1),
		frontendOf("shop/web:http", "192.0.2.10", model.NodePort, 5),
		frontendOf("bank/web", "10.96.0.11", model.ClusterIP, 3),
	}
	all[2].Slots, all[2].Key.Port = nil, 80
	for _, test := range []struct {
		filter serviceFilter
		want   string
	}{
		{serviceFilter{}, "10.96.0.10 192.0.2.10 10.96.0.11"},
		{serviceFilter{namespace: "shop"}, "10.96.0.10 192.0.2.10"},
		{serviceFilter{name: "web", kind: "nodeport"}, "192.0.2.10"},
		{serviceFilter{port: 80}, "10.96.0.11"},
		{serviceFilter{idle: true}, "10.96.0.11"},
		{serviceFilter{top: true}, "192.0.2.10 10.96.0.11 10.96.0.10"},
		{serviceFilter{name: "we"}, ""},
	} {
		if err := test.filter.check(); err != nil {
			t.Error(err)
		}
		var got []string
		for _, f := range test.filter.of(all) {
			got = append(got, f.Key.Addr.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %q, want %q", test.filter, got, test.want)
		}
	}
	if err := (&serviceFilter{kind: "Headless"}).check(); err == nil {
		t.Error("no error for an unknown kind")
	}
}
