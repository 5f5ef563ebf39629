package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Named ports", Label("ports"), func() {
	w := newWorld("ports")

	It("lead to the number that each pod gives the name", func(ctx SpecContext) {
		for i, number := range []uint16{8081, 8082} {
			w.pod(ctx, "web", cluster.PodSpec{
				Name: fmt.Sprintf("web-%d", i+1), Node: []string{nodeA, nodeB}[i],
				Ports: []cluster.Port{{Name: "http", Protocol: testnet.TCP, Number: number}},
			})
		}
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
	})

	It("are told apart within a Service", func(ctx SpecContext) {
		w.pod(ctx, "", cluster.PodSpec{Name: "one", Node: nodeA, Labels: map[string]string{"app": "web"}, Ports: []cluster.Port{
			{Name: "http", Protocol: testnet.TCP, Number: 8081},
		}})
		w.pod(ctx, "", cluster.PodSpec{Name: "two", Node: nodeB, Labels: map[string]string{"app": "web"}, Ports: []cluster.Port{
			{Name: "admin", Protocol: testnet.TCP, Number: 9090},
		}})
		service := w.service(ctx, "web", corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
			{Name: "admin", Port: 90, TargetPort: intstr.FromString("admin")},
		}})
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 80), answeredBy("one"))
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 90), answeredBy("two"))
	})
})

// endpointsOf are slice endpoints of pods, for their addresses of a family.
func endpointsOf(f testnet.Family, pods ...pod) (endpoints []discoveryv1.Endpoint) {
	for _, pod := range pods {
		if !pod.Addr(f).IsValid() {
			leaveOut("pods of both families")
		}
		endpoints = append(endpoints, discoveryv1.Endpoint{Addresses: []string{pod.Addr(f).String()}})
	}
	return endpoints
}

// handmade is a slice of a Service, with one port of TCP.
func handmade(service string, f testnet.Family, port string, number int32, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	tcp := corev1.ProtocolTCP
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: service + "-", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: map[testnet.Family]discoveryv1.AddressType{
			testnet.IPv4: discoveryv1.AddressTypeIPv4, testnet.IPv6: discoveryv1.AddressTypeIPv6,
		}[f],
		Ports:     []discoveryv1.EndpointPort{{Name: &port, Port: &number, Protocol: &tcp}},
		Endpoints: endpoints,
	}
}

// noSelector is a Service web whose slices are written by hand.
func (w *world) noSelector(ctx context.Context) *corev1.Service {
	GinkgoHelper()
	return w.service(ctx, "web", corev1.ServiceSpec{Selector: map[string]string{}})
}

var _ = Describe("Several slices", Label("slices"), func() {
	w := newWorld("slices")
	families := []testnet.Family{testnet.IPv4, testnet.IPv6}

	It("add up, each with its own port number", func(ctx SpecContext) {
		one := w.pod(ctx, "", cluster.PodSpec{Name: "one", Node: nodeA, Ports: []cluster.Port{{Protocol: testnet.TCP, Number: 8081}}})
		two := w.pod(ctx, "", cluster.PodSpec{Name: "two", Node: nodeB, Ports: []cluster.Port{{Protocol: testnet.TCP, Number: 8082}}})
		service := w.noSelector(ctx)
		var second []*discoveryv1.EndpointSlice
		for _, f := range families {
			w.slice(ctx, handmade("web", f, "", 8081, endpointsOf(f, one)))
			second = append(second, w.slice(ctx, handmade("web", f, "", 8082, endpointsOf(f, two))))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("one", "two"))
		for _, slice := range second {
			must(api().DiscoveryV1().EndpointSlices(w.namespace).Delete(ctx, slice.Name, metav1.DeleteOptions{}))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("one"))
	})

	It("may name an endpoint twice: the one that is not terminating counts", func(ctx SpecContext) {
		one := w.pod(ctx, "", cluster.PodSpec{Name: "one", Node: nodeA})
		two := w.pod(ctx, "", cluster.PodSpec{Name: "two", Node: nodeA})
		service := w.noSelector(ctx)
		yes, no := true, false
		for _, f := range families {
			terminating := endpointsOf(f, one)
			terminating[0].Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
			w.slice(ctx, handmade("web", f, "", 8080, terminating))
			w.slice(ctx, handmade("web", f, "", 8080, endpointsOf(f, one, two)))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("one", "two"))
	})

	It("may be full of endpoints that are not ready", func(ctx SpecContext) {
		service := w.noSelector(ctx)
		one := w.pod(ctx, "", cluster.PodSpec{Name: "one", Node: nodeA})
		for _, f := range families {
			// The others are not ready; what is ready is in the last slice.
			no := false
			for slice := range 2 {
				var absent []discoveryv1.Endpoint
				for i := range 60 {
					addr := fmt.Sprintf("10.244.7.%d", 60*slice+i+1)
					if f == testnet.IPv6 {
						addr = fmt.Sprintf("fd00:10:244:7::%x", 60*slice+i+1)
					}
					absent = append(absent, discoveryv1.Endpoint{
						Addresses: []string{addr}, Conditions: discoveryv1.EndpointConditions{Ready: &no},
					})
				}
				w.slice(ctx, handmade("web", f, "", 8080, absent))
			}
			w.slice(ctx, handmade("web", f, "", 8080, endpointsOf(f, one)))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("one"))
	})

	It("of other Services, other families and host names don't count", func(ctx SpecContext) {
		one := w.pod(ctx, "", cluster.PodSpec{Name: "one", Node: nodeA})
		stranger := w.pod(ctx, "", cluster.PodSpec{Name: "stranger", Node: nodeA})
		service := w.noSelector(ctx)
		for _, f := range families {
			unlabelled := handmade("web", f, "", 8080, endpointsOf(f, stranger))
			unlabelled.Labels = nil
			w.slice(ctx, unlabelled)
			w.slice(ctx, handmade("other", f, "", 8080, endpointsOf(f, stranger)))
			w.slice(ctx, handmade("web", f, "unknown", 8080, endpointsOf(f, stranger)))
			w.slice(ctx, handmade("web", f, "", 8080, endpointsOf(f, one)))
		}
		fqdn := handmade("web", testnet.IPv4, "", 8080, []discoveryv1.Endpoint{{Addresses: []string{"stranger.example.net"}}})
		fqdn.AddressType = discoveryv1.AddressTypeFQDN
		w.slice(ctx, fqdn)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("one"))
	})
})
