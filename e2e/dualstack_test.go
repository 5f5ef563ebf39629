package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Dual stack", Label("dualstack"), func() {
	w := newWorld("dualstack")
	single, dual := corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyRequireDualStack

	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		It("serves a Service of "+string(family)+" only in that family", func(ctx SpecContext) {
			w.backends(ctx, "web", nodeA, nodeB)
			service := w.service(ctx, "web", corev1.ServiceSpec{
				Type: corev1.ServiceTypeNodePort, IPFamilyPolicy: &single, IPFamilies: []corev1.IPFamily{family},
			})
			Expect(service.Spec.ClusterIPs).To(HaveLen(1))
			expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
			served, other := testnet.IPv4, testnet.IPv6
			if family == corev1.IPv6Protocol {
				served, other = other, served
			}
			ports := nodePorts(service, nodeA, nodeB)
			expect(ctx, everywhere(), testnet.TCP, ofFamily(served, ports), answeredBy("web-1", "web-2"))
			expect(ctx, everywhere(), testnet.TCP, ofFamily(other, ports), refused)
		})
	}

	It("serves both cluster IPs, whichever family comes first", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			IPFamilyPolicy: &dual, IPFamilies: []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol},
		})
		Expect(service.Spec.ClusterIPs).To(HaveLen(2))
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
	})

	It("follows a Service that gets its second family, and loses it", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{IPFamilyPolicy: &single})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
		service = w.change(ctx, service, func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &dual })
		both := clusterIPs(service)
		Expect(both).To(HaveLen(2))
		expect(ctx, inside(), testnet.TCP, both, answeredBy("web-1", "web-2"))
		w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.IPFamilyPolicy = &single
			s.Spec.IPFamilies, s.Spec.ClusterIPs = s.Spec.IPFamilies[:1], s.Spec.ClusterIPs[:1]
		})
		expect(ctx, inside(), testnet.TCP, both[:1], answeredBy("web-1", "web-2"))
		expect(ctx, pods(), testnet.TCP, both[1:], silent)
	})
})
