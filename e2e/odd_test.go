package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// The API accepts these objects, and a proxy can't use all of them. What can be
// used is, and the rest is told by an event on the object.
var _ = Describe("Odd objects", Label("odd", "events"), func() {
	w := newWorld("odd")

	// expectQuarantine waits for the event that tells of what can't be used.
	expectQuarantine := func(ctx context.Context, kind, name string, message types.GomegaMatcher) {
		GinkgoHelper()
		Eventually(eventsOn(ctx, w.namespace, kind, name)).WithContext(ctx).
			Should(ContainElement(And(HavePrefix("Warning Quarantined "), message)))
	}

	It("an external IP that is a multicast address", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: append(textsOf(addrs), "239.1.2.3")})
		expectQuarantine(ctx, "Service", "web", And(ContainSubstring("spec.externalIPs[2]"), ContainSubstring("239.1.2.3")))
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
	})

	It("a load balancer's address that is a loopback one", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, append(ingressOf(addrs...), corev1.LoadBalancerIngress{IP: "127.0.0.1"})...)
		expectQuarantine(ctx, "Service", "web", ContainSubstring("127.0.0.1"))
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
	})

	It("an endpoint that is a multicast address", Label(better), func(ctx SpecContext) {
		pod := w.backends(ctx, "web", nodeA)[0]
		service := w.noSelector(ctx)
		var slices []*discoveryv1.EndpointSlice
		for f, odd := range map[testnet.Family]string{testnet.IPv4: "239.1.2.3", testnet.IPv6: "ff0e::1"} {
			endpoints := append(endpointsOf(f, pod), discoveryv1.Endpoint{Addresses: []string{odd}})
			slices = append(slices, w.slice(ctx, handmade("web", f, "", 8080, endpoints)))
		}
		for _, slice := range slices {
			expectQuarantine(ctx, "EndpointSlice", slice.Name, ContainSubstring("endpoints[1].addresses[0]"))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
	})

	It("source ranges of the other family only", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerSourceRanges: []string{"192.0.2.77/32"},
		})
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		Eventually(eventsOn(ctx, w.namespace, "Service", "web")).WithContext(ctx).
			Should(ContainElement(And(HavePrefix("Warning SourceRangesOfOtherFamily "), ContainSubstring(addrs[1].String()))))
		expect(ctx, everywhere(), testnet.TCP, at(addrs[1:], 80), answeredBy("web-1"))
		expect(ctx, from(client), testnet.TCP, at(addrs[:1], 80), silent)
	})

	It("slices whose ports have no number", func(ctx SpecContext) {
		pod := w.backends(ctx, "web", nodeA)[0]
		service := w.noSelector(ctx)
		for _, f := range []testnet.Family{testnet.IPv4, testnet.IPv6} {
			slice := handmade("web", f, "", 8080, endpointsOf(f, pod))
			slice.Ports[0].Port = nil
			w.slice(ctx, slice)
			w.slice(ctx, handmade("web", f, "", 8080, endpointsOf(f, pod)))
		}
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
	})

	It("IPv6 addresses in unusual spelling", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addr := vips(nodeA)[1]
		w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: []string{addr.StringExpanded()}})
		expect(ctx, everywhere(), testnet.TCP, at(textToAddrs(addr.String()), 80), answeredBy("web-1"))
	})
})
