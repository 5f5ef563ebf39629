package ruleset

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// endpoint reads "10.0.0.1 node-a ready zones=z1,z2 nodes=n1".
func endpoint(t *testing.T, text string) model.Endpoint {
	t.Helper()
	fields := strings.Fields(text)
	ep := model.Endpoint{Addr: netip.MustParseAddr(fields[0]), Node: strings.TrimPrefix(fields[1], "-")}
	for _, f := range fields[2:] {
		key, list, _ := strings.Cut(f, "=")
		switch key {
		case "ready":
			ep.State |= model.Ready | model.Serving
		case "serving":
			ep.State |= model.Serving
		case "terminating":
			ep.State |= model.Terminating
		case "zones", "nodes":
			if ep.Hints == nil {
				ep.Hints = &model.Hints{}
			}
			if key == "zones" {
				ep.Hints.Zones = strings.Split(list, ",")
			} else {
				ep.Hints.Nodes = strings.Split(list, ",")
			}
		default:
			t.Fatalf("endpoint %q: %q?", text, f)
		}
	}
	return ep
}

func TestSelection(t *testing.T) {
	loc := &Locality{Node: "a", Zone: "z1"}
	for _, test := range []struct {
		name           string
		endpoints      []string
		cluster, local string
		anywhere       bool
	}{
		{"none", nil, "", "", false},
		{"ready everywhere", []string{"10.0.0.1 a ready", "10.0.0.2 b ready"}, "10.0.0.1 10.0.0.2", "10.0.0.1", true},
		{"not ready", []string{"10.0.0.1 a", "10.0.0.2 b"}, "", "", false},
		{"serving but not ready and not terminating", []string{"10.0.0.1 a serving"}, "", "", false},
		{"terminating next to ready", []string{"10.0.0.1 a serving terminating", "10.0.0.2 b ready"}, "10.0.0.2", "10.0.0.1", true},
		{"terminating alone", []string{"10.0.0.1 a serving terminating", "10.0.0.2 b serving terminating"}, "10.0.0.1 10.0.0.2", "10.0.0.1", true},
		{"terminating, serving no more", []string{"10.0.0.1 a terminating"}, "", "", false},
		{"no node", []string{"10.0.0.1 - ready"}, "10.0.0.1", "", true},
		{"zone hints", []string{"10.0.0.1 a ready zones=z1", "10.0.0.2 b ready zones=z2", "10.0.0.3 c ready zones=z2,z1"}, "10.0.0.1 10.0.0.3", "10.0.0.1", true},
		{"zone hints, one without", []string{"10.0.0.1 a ready zones=z1", "10.0.0.2 b ready"}, "10.0.0.1 10.0.0.2", "10.0.0.1", true},
		{"zone hints, none for this zone", []string{"10.0.0.2 b ready zones=z2"}, "10.0.0.2", "", true},
		{"zone hints do not bind policy Local", []string{"10.0.0.1 a ready zones=z2", "10.0.0.2 b ready zones=z1"}, "10.0.0.2", "10.0.0.1", true},
		{"node hints before zone hints", []string{"10.0.0.1 b ready zones=z1 nodes=a", "10.0.0.2 b ready zones=z1 nodes=b"}, "10.0.0.1", "", true},
		{"node hints for others: zone hints", []string{"10.0.0.1 b ready zones=z1 nodes=b", "10.0.0.2 c ready zones=z2 nodes=c"}, "10.0.0.1", "", true},
		{"hints of endpoints that are not ready do not count", []string{"10.0.0.1 a ready zones=z1", "10.0.0.2 b"}, "10.0.0.1", "10.0.0.1", true},
		{"hints do not bind terminating ones", []string{"10.0.0.1 b serving terminating zones=z2", "10.0.0.2 c serving terminating zones=z1"}, "10.0.0.1 10.0.0.2", "", true},
		{"twice, one terminating", []string{"10.0.0.1 a serving terminating", "10.0.0.1 a ready"}, "10.0.0.1", "10.0.0.1", true},
		{"the other family", []string{"fd00::1 a ready"}, "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			slice := &model.EndpointSlice{Ports: []model.EndpointPort{{Name: "p", Protocol: model.TCP, Port: 80}}}
			for _, text := range test.endpoints {
				slice.Endpoints = append(slice.Endpoints, endpoint(t, text))
			}
			port := &model.ServicePort{Name: "p", Protocol: model.TCP}
			for range 2 {
				s := choose(portEndpoints([]*model.EndpointSlice{slice}, port), ipv4, loc)
				if got := addrsOf(s.cluster); got != test.cluster {
					t.Errorf("cluster: %q, want %q", got, test.cluster)
				}
				if got := addrsOf(s.local); got != test.local {
					t.Errorf("local: %q, want %q", got, test.local)
				}
				if s.anywhere != test.anywhere {
					t.Errorf("anywhere: %v, want %v", s.anywhere, test.anywhere)
				}
				slices.Reverse(slice.Endpoints)
			}
		})
	}
}

func addrsOf(backends []model.Backend) string {
	var list []string
	for _, b := range backends {
		list = append(list, b.Addr().String())
	}
	return strings.Join(list, " ")
}

// TestSlicesBringTheirPorts: one port name, another number in each slice.
func TestSlicesBringTheirPorts(t *testing.T) {
	slice := func(port uint16, addr string) *model.EndpointSlice {
		return &model.EndpointSlice{
			Ports:     []model.EndpointPort{{Name: "other", Protocol: model.TCP, Port: 1}, {Name: "p", Protocol: model.UDP, Port: 2}, {Name: "p", Protocol: model.TCP, Port: port}},
			Endpoints: []model.Endpoint{{Addr: netip.MustParseAddr(addr), State: model.Ready}},
		}
	}
	eps := portEndpoints([]*model.EndpointSlice{slice(8080, "10.0.0.1"), slice(9090, "10.0.0.2")}, &model.ServicePort{Name: "p", Protocol: model.TCP})
	if len(eps) != 2 || eps[0].backend.String() != "10.0.0.1:8080" || eps[1].backend.String() != "10.0.0.2:9090" {
		t.Errorf("%v", eps)
	}
}

func TestDisjoint(t *testing.T) {
	var ps []netip.Prefix
	for _, s := range []string{"10.1.2.0/24", "10.0.0.0/8", "192.0.2.1/32", "10.1.0.0/16", "192.0.2.0/24", "10.0.0.0/8"} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	got := disjoint(ps)
	if len(got) != 2 || got[0].String() != "10.0.0.0/8" || got[1].String() != "192.0.2.0/24" {
		t.Errorf("%v", got)
	}
}
