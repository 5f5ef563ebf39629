package e2e

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("LoadBalancer", Label("loadbalancer"), func() {
	w := newWorld("loadbalancer")

	It("is served at the addresses in its status", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		expect(ctx, inside(), testnet.TCP, at(addrs, 80), answeredBy("web-1", "web-2"))
		expect(ctx, from(client), testnet.TCP, at(addrs, 80), answeredBy("web-1", "web-2").masqueraded())
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1", "web-2"))
	})

	It("does not let connections from inside leave the cluster", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		// Nobody routes this one.
		vip := netip.MustParseAddr("203.0.113.250")
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, ingressOf(vip)...)
		expect(ctx, inside(), testnet.TCP, at([]netip.Addr{vip}, 80), answeredBy("web-1"))
	})

	It("follows its status", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		first, second := vips(nodeA), vips(nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, ingressOf(first...)...)
		expect(ctx, from(client, podA), testnet.TCP, at(first, 80), answeredBy("web-1"))
		w.setIngress(ctx, service, ingressOf(second...)...)
		expect(ctx, from(client, podA), testnet.TCP, at(second, 80), answeredBy("web-1"))
		expectNoAnswer(ctx, from(client, podA), at(first, 80))
		w.setIngress(ctx, service)
		expectNoAnswer(ctx, from(client, podA), at(second, 80))
	})

	It("leaves addresses of ipMode Proxy to the load balancer", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addrs := vips(nodeA)
		proxy, vip := corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP
		ingress := ingressOf(addrs...)
		ingress[0].IPMode, ingress[1].IPMode = &proxy, &vip
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, ingress...)
		expect(ctx, from(client, podA), testnet.TCP, at(addrs[1:], 80), answeredBy("web-1"))
		expectNoAnswer(ctx, from(client, podA), at(addrs[:1], 80))
		ingress[0].IPMode = &vip
		w.setIngress(ctx, service, ingress...)
		expect(ctx, from(client, podA), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
	})

	It("ignores host names", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
		w.setIngress(ctx, service, corev1.LoadBalancerIngress{Hostname: "lb.example.net"})
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1"))
	})

	It("works without node ports", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		addrs := vips(nodeA)
		no := false
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no,
		})
		Expect(service.Spec.Ports[0].NodePort).To(BeZero())
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
	})
})
