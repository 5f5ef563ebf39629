package e2e

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("NodePort", Label("nodeport"), func() {
	w := newWorld("nodeport")

	It("is open on every node, whatever the client and wherever the endpoint", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		to := nodePorts(w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}), nodeA, nodeB)
		expect(ctx, everywhere(), testnet.TCP, to, answeredBy("web-1"))
	})

	It("masquerades, also to endpoints on the same node", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := nodePorts(w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}), nodeA, nodeB)
		expect(ctx, from(client), testnet.TCP, to, answeredBy("web-1", "web-2").masqueraded())
	})

	It("does not take the cluster IP's place", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		expect(ctx, pods(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2").withOwnSource())
	})

	It("is never open on the loopback device", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		expect(ctx, hosts(), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1"))
		loopback := at([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, service.Spec.Ports[0].NodePort)
		expect(ctx, hosts(), testnet.TCP, loopback, refused)
	})

	It("closes when the Service is no longer of the type", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		to := nodePorts(service, nodeA, nodeB)
		expect(ctx, everywhere(), testnet.TCP, to, answeredBy("web-1"))
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeClusterIP
			s.Spec.Ports[0].NodePort = 0
		})
		expect(ctx, everywhere(), testnet.TCP, to, refused)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
	})

	It("moves to another number", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		before := nodePorts(service, nodeA, nodeB)
		expect(ctx, everywhere(), testnet.TCP, before, answeredBy("web-1"))
		other := w.service(ctx, "other", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}).DeepCopy()
		w.delete(ctx, other)
		service = w.change(ctx, service, func(s *corev1.Service) { s.Spec.Ports[0].NodePort = other.Spec.Ports[0].NodePort })
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1"))
		expect(ctx, everywhere(), testnet.TCP, before, refused)
	})
})
