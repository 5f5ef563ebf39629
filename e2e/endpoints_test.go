package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("No endpoints", Label("noendpoints"), func() {
	w := newWorld("noendpoints")

	It("refuses connections at every frontend, until there are some", func(ctx SpecContext) {
		addrs := vips(nodeA)
		externalIPs := vips(nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalIPs: textsOf(externalIPs)})
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		frontends := append(append(nodePorts(service, nodeA, nodeB), at(addrs, 80)...), at(externalIPs, 80)...)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), refused)
		expect(ctx, everywhere(), testnet.TCP, frontends, refused)
		w.backends(ctx, "web", nodeB)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, everywhere(), testnet.TCP, frontends, answeredBy("web-1"))
	})

	It("refuses when the last one goes", func(ctx SpecContext) {
		pod := w.backends(ctx, "web", nodeA)[0]
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1"))
		must(pod.SetReady(ctx, false))
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), refused)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), refused)
		must(pod.Remove(ctx))
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), refused)
	})

	It("refuses with traffic policies Local too", func(ctx SpecContext) {
		local := corev1.ServiceInternalTrafficPolicyLocal
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeNodePort,
			InternalTrafficPolicy: &local, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), refused)
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), refused)
	})

	It("refuses UDP and SCTP", func(ctx SpecContext) {
		service := w.service(ctx, "web", corev1.ServiceSpec{Ports: []corev1.ServicePort{
			onPort("udp", corev1.ProtocolUDP, 80), onPort("sctp", corev1.ProtocolSCTP, 80),
		}})
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), refused)
		expect(ctx, inside(), testnet.SCTP, clusterIPs(service), refused)
	})
})

var _ = Describe("Terminating endpoints", Label("terminating"), func() {
	w := newWorld("terminating")

	It("get no new connections while others are ready", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		must(backends[0].Terminate(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2"))
	})

	It("serve on when nobody else does", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		to := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		must(backends[0].Terminate(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2"))
		must(backends[1].Terminate(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1", "web-2"))
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-3", Node: nodeB})
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-3"))
	})

	It("serve on, on a node whose policy is Local", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		local := corev1.ServiceInternalTrafficPolicyLocal
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeNodePort,
			InternalTrafficPolicy: &local, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		must(backends[0].Terminate(ctx))
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-3", Node: nodeB})
		expect(ctx, from(podB, hostB), testnet.TCP, clusterIPs(service), answeredBy("web-2", "web-3"))
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1").withOwnSource())
	})

	It("that fail their readiness probe serve no more", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		must(backends[0].Terminate(ctx))
		must(backends[1].Terminate(ctx))
		must(backends[1].SetReady(ctx, false))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1"))
		must(backends[0].SetReady(ctx, false))
		expect(ctx, inside(), testnet.TCP, to, refused)
	})
})
