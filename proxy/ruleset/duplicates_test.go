package ruleset

import (
	"net/netip"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// TestEndpointTwice: of one address and port in several slices the most useful
// word counts, in any order of the slices.
func TestEndpointTwice(t *testing.T) {
	const ready, serving, terminating = model.Ready, model.Serving, model.Terminating
	// From the best to the worst.
	states := []model.EndpointState{
		ready | serving, ready, serving, 0,
		ready | serving | terminating, ready | terminating, serving | terminating, terminating,
	}
	port := &model.ServicePort{Protocol: model.TCP, Port: 80}
	for i, better := range states {
		for _, worse := range states[i:] {
			for _, order := range [][]model.EndpointState{{better, worse}, {worse, better}} {
				var list []*model.EndpointSlice
				for _, state := range order {
					list = append(list, &model.EndpointSlice{
						Ports:     []model.EndpointPort{{Protocol: model.TCP, Port: 8080}},
						Endpoints: []model.Endpoint{{Addr: netip.MustParseAddr("10.244.0.1"), State: state}},
					})
				}
				got := portEndpoints(list, port)
				if len(got) != 1 || got[0].State != better {
					t.Errorf("%03b and %03b: %d endpoints, the first %03b", better, worse, len(got), got[0].State)
				}
			}
		}
	}
}
