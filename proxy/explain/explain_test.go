package explain_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

var (
	one, two = netip.MustParseAddrPort("10.1.0.1:80"), netip.MustParseAddrPort("10.1.0.2:80")
	query    = explain.Query{To: model.FrontendKey{Addr: netip.MustParseAddr("10.96.0.10"), Port: 80, Protocol: model.TCP}}
)

// served is a table that serves the query by one endpoint.
func served() *explain.Kernel {
	return &explain.Kernel{
		Table: "kube-vmap", Exists: true, Hooked: true, ClusterIP: true, Pods: explain.PodsByInterface, Masquerades: explain.MasqueradesOutside,
		Frontend: &ruleset.FrontendStatus{Key: query.To, Service: "shop/web", Kind: model.ClusterIP, Class: 1, Slots: ruleset.Slots{one}},
	}
}

func claim(servicePort string, backends ...model.Backend) explain.Claim {
	c := explain.Claim{ServicePort: servicePort, Kind: "ClusterIP", Backends: backends}
	for _, b := range backends {
		c.Endpoints = append(c.Endpoints, explain.Endpoint{Address: b, State: "ready", Ready: true, Cluster: true})
	}
	return c
}

// TestNotes: what an operator should know besides.
func TestNotes(t *testing.T) {
	from := query
	from.From = netip.MustParseAddr("10.1.0.9")
	refused := claim("shop/web", one)
	refused.Quarantine = "no space left"
	loading := served()
	loading.Hooked = false
	for _, test := range []struct {
		name    string
		query   explain.Query
		kernel  *explain.Kernel
		objects *explain.Objects
		want    string // part of the only note; empty: none
	}{
		{"all is well", query, served(), &explain.Objects{Claims: []explain.Claim{claim("shop/web", one)}}, ""},
		{"no objects", query, served(), nil, "from the table alone"},
		{"the table lags", query, served(), &explain.Objects{Claims: []explain.Claim{claim("shop/web", one, two)}}, "not what the objects ask for"},
		{"quarantined", query, served(), &explain.Objects{Claims: []explain.Claim{refused}}, "quarantined: no space left"},
		{"a conflict", query, served(), &explain.Objects{Claims: []explain.Claim{claim("shop/web", one), claim("shop/other")}}, "shop/other also asks for it"},
		{"loading", query, loading, &explain.Objects{Claims: []explain.Claim{claim("shop/web", one)}}, "has no base chains"},
		{"pods by interface", from, served(), &explain.Objects{Claims: []explain.Claim{claim("shop/web", one)}}, "pods are told by the interface"},
	} {
		a := explain.Explain(test.query, test.kernel, test.objects)
		switch {
		case test.want == "" && len(a.Notes) > 0,
			test.want != "" && (len(a.Notes) != 1 || !strings.Contains(a.Notes[0], test.want)):
			t.Errorf("%s: notes %q, want %q", test.name, a.Notes, test.want)
		}
	}
}

// TestClients: those that fare alike are told together.
func TestClients(t *testing.T) {
	a := explain.Explain(query, served(), nil)
	if len(a.Outcomes) != 2 || a.Outcomes[0].Masqueraded || !a.Outcomes[1].Masqueraded {
		t.Fatalf("%+v", a.Outcomes)
	}
	if diff := cmp.Diff([]string{"this node", "others"}, a.Outcomes[1].Clients); diff != "" {
		t.Error(diff)
	}
	if want := "Connections to 10.96.0.10:80/TCP are forwarded: shop/web has 1 usable endpoint."; a.Summary != want {
		t.Errorf("%s", a.Summary)
	}
	none := served()
	none.Masquerades = explain.MasqueradesNone
	if a := explain.Explain(query, none, nil); len(a.Outcomes) != 1 || a.Outcomes[0].Clients != nil {
		t.Errorf("%+v", a.Outcomes)
	}
}

// TestAffinity: a client that is bound goes where it went before.
func TestAffinity(t *testing.T) {
	k := served()
	k.Frontend.Affinity, k.Frontend.Class, k.Frontend.Slots, k.Binding = 3*3600e9, 2, ruleset.Slots{one, two}, two
	bound := query
	bound.From = netip.MustParseAddr("192.0.2.1")
	k.Pods = explain.PodsByAddress
	a := explain.Explain(bound, k, nil)
	if !strings.HasSuffix(a.Summary, "session affinity leads this client to 10.1.0.2:80.") || a.Outcomes[0].Bound != two {
		t.Errorf("%s", a.Summary)
	}
	k.Binding = model.Backend{}
	if a := explain.Explain(bound, k, nil); !strings.HasSuffix(a.Summary, "a client keeps its endpoint until 3h after its last new connection.") {
		t.Errorf("%s", a.Summary)
	}
}

// TestNoTable: nothing is served.
func TestNoTable(t *testing.T) {
	a := explain.Explain(query, &explain.Kernel{Table: "kube-vmap"}, nil)
	if a.Reaches() || !strings.Contains(a.Summary, "are not handled, since there is no table inet kube-vmap on this node") {
		t.Errorf("%s", a.Summary)
	}
}

// TestAnswerIsJSON: it keeps everything.
func TestAnswerIsJSON(t *testing.T) {
	a := explain.Explain(query, served(), &explain.Objects{Claims: []explain.Claim{claim("shop/web", one, two)}})
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var read explain.Answer
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	equal := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(a, read, equal); diff != "" {
		t.Error(diff)
	}
}
