package convert

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// endpointSlice is a slice of shop/web with a port and one address, changed as a
// row wants it.
func endpointSlice(change func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.11"}}},
	}
	change(o)
	return o
}

func TestEndpointSlice(t *testing.T) {
	const readyServing = model.Ready | model.Serving
	no, yes := ptr.To(false), ptr.To(true)
	for _, row := range []struct {
		name     string
		in       func(*discoveryv1.EndpointSlice)
		want     func(*model.EndpointSlice)
		problems []string
	}{
		{name: "defaults", in: func(*discoveryv1.EndpointSlice) {}},
		{name: "conditions",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Endpoints = []discoveryv1.Endpoint{
					{Addresses: []string{"10.244.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: no, Serving: yes, Terminating: yes}},
					{Addresses: []string{"10.244.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: no, Serving: no, Terminating: no}},
					{Addresses: []string{"10.244.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: no}},
					{Addresses: []string{"10.244.0.4"}, Conditions: discoveryv1.EndpointConditions{Ready: yes, Serving: yes, Terminating: yes}},
				}
			},
			want: func(s *model.EndpointSlice) {
				s.Endpoints = []model.Endpoint{
					{Addr: addrs("10.244.0.1")[0], State: model.Serving | model.Terminating},
					{Addr: addrs("10.244.0.2")[0]},
					{Addr: addrs("10.244.0.3")[0], State: model.Serving},
					{Addr: addrs("10.244.0.4")[0], State: readyServing | model.Terminating},
				}
			}},
		{name: "node and hints",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Endpoints[0].NodeName = ptr.To("Node-A")
				o.Endpoints[0].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z1"}, {Name: "z2"}}, ForNodes: []discoveryv1.ForNode{{Name: "n1"}}}
			},
			want: func(s *model.EndpointSlice) {
				s.Endpoints[0].Node, s.Endpoints[0].Hints = "Node-A", &model.Hints{Zones: []string{"z1", "z2"}, Nodes: []string{"n1"}}
			}},
		{name: "hints for nobody are none",
			in: func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Hints = &discoveryv1.EndpointHints{} }},
		{name: "only the first address counts",
			in: func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses = []string{"10.244.0.11", "nonsense"} }},
		{name: "IPv6, with leading zeros",
			in: func(o *discoveryv1.EndpointSlice) {
				o.AddressType, o.Endpoints[0].Addresses = discoveryv1.AddressTypeIPv6, []string{"FD00::010.0.0.1"}
			},
			want: func(s *model.EndpointSlice) { s.Endpoints[0].Addr = addrs("fd00::a00:1")[0] }},
		{name: "addresses that are none, or not of the slice's family",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.999"}}, {Addresses: []string{"fd00::1"}}, {},
					{Addresses: []string{"127.0.0.1"}}, {Addresses: []string{"::ffff:10.244.0.11"}}}
			},
			problems: []string{
				`endpoints[0].addresses[0]: "10.244.0.999" is not an IP address: correct it`,
				"endpoints[1].addresses[0]: fd00::1 is no IPv4 address, as addressType says of this slice: move it to a slice of its own family",
				"endpoints[2].addresses[0]: there is no address: give one",
				"endpoints[3].addresses[0]: 127.0.0.1 is a loopback address, which can't be served: use a unicast address that is routed"}},
		{name: "IPv4 in a slice for IPv6",
			in: func(o *discoveryv1.EndpointSlice) {
				o.AddressType, o.Endpoints[0].Addresses = discoveryv1.AddressTypeIPv6, []string{"::ffff:10.244.0.11"}
			},
			want: func(s *model.EndpointSlice) { s.Endpoints = nil },
			problems: []string{
				"endpoints[0].addresses[0]: 10.244.0.11 is no IPv6 address, as addressType says of this slice: move it to a slice of its own family"}},
		{name: "an unknown family",
			in:       func(o *discoveryv1.EndpointSlice) { o.AddressType = "" },
			want:     func(s *model.EndpointSlice) { s.Endpoints = nil },
			problems: []string{`addressType: "" is unknown, the addresses are left out: use IPv4 or IPv6`}},
		{name: "ports without name or number are ignored",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Ports = []discoveryv1.EndpointPort{{Port: ptr.To[int32](1)}, {Name: ptr.To("a")}, {Name: ptr.To(""), Port: ptr.To[int32](2)}}
			},
			want: func(s *model.EndpointSlice) { s.Ports = []model.EndpointPort{{Protocol: model.TCP, Port: 2}} }},
		{name: "port problems",
			in: func(o *discoveryv1.EndpointSlice) {
				udp, odd := corev1.ProtocolUDP, corev1.Protocol("QUIC")
				o.Ports = []discoveryv1.EndpointPort{
					{Name: ptr.To("a"), Port: ptr.To[int32](0)}, {Name: ptr.To("b"), Port: ptr.To[int32](65536)},
					{Name: ptr.To("c"), Port: ptr.To[int32](3), Protocol: &odd}, {Name: ptr.To("d"), Port: ptr.To[int32](4), Protocol: &udp},
					{Name: ptr.To("d"), Port: ptr.To[int32](5)}, {Name: ptr.To("d"), Port: ptr.To[int32](6), Protocol: &udp}}
			},
			want: func(s *model.EndpointSlice) {
				s.Ports = []model.EndpointPort{{Name: "d", Protocol: model.UDP, Port: 4}, {Name: "d", Protocol: model.TCP, Port: 5}}
			},
			problems: []string{"ports[0].port: 0 is not a port number: use 1 to 65535", "ports[1].port: 65536 is not a port number: use 1 to 65535",
				`ports[2].protocol: "QUIC" is unknown: use TCP, UDP or SCTP`, `ports[5].name: "d" is the name of an earlier UDP port: give each port its own name`}},
		{name: "when it was triggered",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-01-02T03:04:05.678+01:00"}
			},
			want: func(s *model.EndpointSlice) { s.Triggered = time.Date(2026, 1, 2, 2, 4, 5, 678e6, time.UTC) }},
		{name: "when it was triggered is unknown",
			in: func(o *discoveryv1.EndpointSlice) {
				o.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: "yesterday"}
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := &model.EndpointSlice{
				Name:      model.SliceName{Namespace: "shop", Name: "web-1"},
				Service:   model.ServiceName{Namespace: "shop", Name: "web"},
				Ports:     []model.EndpointPort{{Name: "http", Protocol: model.TCP, Port: 8080}},
				Endpoints: []model.Endpoint{{Addr: addrs("10.244.0.11")[0], State: readyServing}},
			}
			if row.want != nil {
				row.want(want)
			}
			got, found := New("").EndpointSlice(endpointSlice(row.in))
			compare(t, got, want)
			compareProblems(t, found, row.problems...)
		})
	}
}

func TestEndpointSliceSkipped(t *testing.T) {
	s, found := New("").EndpointSlice(endpointSlice(func(o *discoveryv1.EndpointSlice) { o.AddressType = discoveryv1.AddressTypeFQDN }))
	if s != nil || found != nil {
		t.Errorf("a slice of host names became %v, with %v", s, found)
	}
}

// What repeats is kept once: a node's name and equal hints, across slices.
func TestEndpointsShareNamesAndHints(t *testing.T) {
	c := New("")
	one := func(node, zone string) model.Endpoint {
		s, _ := c.EndpointSlice(endpointSlice(func(o *discoveryv1.EndpointSlice) {
			o.Endpoints[0].NodeName = ptr.To(strings.Clone(node))
			o.Endpoints[0].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
		}))
		return s.Endpoints[0]
	}
	a, b, other := one("node-a", "z1"), one("node-a", "z1"), one("node-a", "z2")
	if unsafe.StringData(a.Node) != unsafe.StringData(b.Node) {
		t.Error("two endpoints of a node hold its name twice")
	}
	if a.Hints != b.Hints {
		t.Error("two endpoints hold equal hints twice")
	}
	if a.Hints == other.Hints {
		t.Error("different hints are one")
	}
}

// A zone and a node of one name are different hints, and so are ["a","b"] and ["ab"].
func TestHintsAreToldApart(t *testing.T) {
	var h hintCache
	seen := map[*model.Hints]bool{}
	list := []discoveryv1.EndpointHints{
		{ForZones: []discoveryv1.ForZone{{Name: "a"}}},
		{ForNodes: []discoveryv1.ForNode{{Name: "a"}}},
		{ForZones: []discoveryv1.ForZone{{Name: "a"}, {Name: "b"}}},
		{ForZones: []discoveryv1.ForZone{{Name: "ab"}}},
		{ForZones: []discoveryv1.ForZone{{Name: "a"}}, ForNodes: []discoveryv1.ForNode{{Name: "b"}}},
	}
	for i := range list {
		seen[h.share(&list[i])] = true
	}
	if len(seen) != len(list) {
		t.Errorf("%d hints became %d", len(list), len(seen))
	}
}

// Names come and go for years; what is in use stays shared, what isn't goes.
func TestInternerForgets(t *testing.T) {
	var in interner
	first := in.share("kept")
	for i := range 10 * cacheLimit {
		in.share(fmt.Sprintf("passing-%d", i))
		if i%(cacheLimit/2) == 0 {
			if s := in.share(strings.Clone("kept")); unsafe.StringData(s) != unsafe.StringData(first) {
				t.Fatalf("after %d names, one in use was forgotten", i)
			}
		}
	}
	if n := len(in.known.young) + len(in.known.old); n > 2*cacheLimit {
		t.Errorf("%d names are remembered, want at most %d", n, 2*cacheLimit)
	}
}
