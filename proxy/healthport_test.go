package proxy

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func TestLocalEndpoints(t *testing.T) {
	slice := func(state model.EndpointState, node string, addrs ...string) *model.EndpointSlice {
		s := &model.EndpointSlice{}
		for _, a := range addrs {
			s.Endpoints = append(s.Endpoints, model.Endpoint{Addr: netip.MustParseAddr(a), Node: node, State: state})
		}
		return s
	}
	const ready, leaving = model.Ready | model.Serving, model.Ready | model.Serving | model.Terminating
	for name, test := range map[string]struct {
		slices []*model.EndpointSlice
		want   int
	}{
		"none":             {nil, 0},
		"twice":            {[]*model.EndpointSlice{slice(ready, "here", "10.0.0.1", "10.0.0.2"), slice(ready, "here", "10.0.0.2")}, 2},
		"elsewhere":        {[]*model.EndpointSlice{slice(ready, "there", "10.0.0.1"), slice(ready, "", "10.0.0.2")}, 0},
		"not ready":        {[]*model.EndpointSlice{slice(model.Serving, "here", "10.0.0.1"), slice(leaving, "here", "10.0.0.2")}, 0},
		"IPv6":             {[]*model.EndpointSlice{slice(ready, "here", "fd00::1", "fd00::2")}, 2},
		"dual stack":       {[]*model.EndpointSlice{slice(ready, "here", "10.0.0.1", "10.0.0.2"), slice(ready, "here", "fd00::1", "fd00::2")}, 2},
		"more in a family": {[]*model.EndpointSlice{slice(ready, "here", "10.0.0.1"), slice(ready, "here", "fd00::1", "fd00::2")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := localEndpoints(test.slices, "here"); got != test.want {
				t.Errorf("%d local endpoints, want %d", got, test.want)
			}
		})
	}
}
