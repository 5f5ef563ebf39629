package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("External IPs", Label("externalip"), func() {
	w := newWorld("externalip")

	It("serve clients inside and outside, masqueraded", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		addrs := vips(nodeB)
		w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: textsOf(addrs)})
		expect(ctx, inside(), testnet.TCP, at(addrs, 80), answeredBy("web-1", "web-2"))
		expect(ctx, from(client), testnet.TCP, at(addrs, 80), answeredBy("web-1", "web-2").masqueraded())
	})

	It("may be addresses of the nodes", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: textsOf(nodeHost(nodeA).Addrs())})
		expect(ctx, from(client, podA, hostA, podB), testnet.TCP, at(nodeHost(nodeA).Addrs(), 80), answeredBy("web-1"))
		w.delete(ctx, service)
		expect(ctx, from(client, podA, hostA, podB), testnet.TCP, at(nodeHost(nodeA).Addrs(), 80), refused)
	})

	It("come and go with the Service's list", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		first, second := vips(nodeA), vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: textsOf(first)})
		expect(ctx, from(client, podB), testnet.TCP, at(first, 80), answeredBy("web-1"))
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.ExternalIPs = textsOf(second) })
		expect(ctx, from(client, podB), testnet.TCP, at(second, 80), answeredBy("web-1"))
		expectNoAnswer(ctx, from(client, podB), at(first, 80))
	})
})
