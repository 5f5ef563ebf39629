package e2e

import (
	"net/netip"
	"slices"

	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Internal traffic policy", Label("internaltrafficpolicy"), func() {
	w := newWorld("internalpolicy")
	local := corev1.ServiceInternalTrafficPolicyLocal

	It("Local keeps connections on their node, from pods and from the node itself", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{InternalTrafficPolicy: &local}))
		expect(ctx, from(podA), testnet.TCP, to, answeredBy("web-1", "web-2").withOwnSource())
		expect(ctx, from(podB), testnet.TCP, to, answeredBy("web-3").withOwnSource())
		expect(ctx, from(hostA), testnet.TCP, to, answeredBy("web-1", "web-2"))
		expect(ctx, from(hostB), testnet.TCP, to, answeredBy("web-3"))
	})

	It("Local lets connections wait in vain where no endpoint is", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{InternalTrafficPolicy: &local}))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-1"))
		expect(ctx, from(podA, hostA), testnet.TCP, to, silent)
	})

	It("does not bind node ports", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, InternalTrafficPolicy: &local})
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1"))
	})

	It("changes live", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		to := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local })
		expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1"))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-2"))
	})
})

var _ = Describe("External traffic policy", Label("externaltrafficpolicy"), func() {
	w := newWorld("externalpolicy")

	// exposed is a load balancer at node-a with an external IP and a node port.
	exposed := func(ctx SpecContext, policy corev1.ServiceExternalTrafficPolicy) (service *corev1.Service, external []netip.AddrPort) {
		external = at(vips(nodeA), 80)
		externalIPs := vips(nodeA)
		service = w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: policy, ExternalIPs: textsOf(externalIPs),
		})
		w.setIngress(ctx, service, ingressOf(external[0].Addr(), external[1].Addr())...)
		return service, append(external, at(externalIPs, 80)...)
	}

	It("Cluster leads everyone to all endpoints, clients from outside masqueraded", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyCluster)
		all := slices.Concat(external, nodePorts(service, nodeA, nodeB))
		expect(ctx, inside(), testnet.TCP, all, answeredBy("web-1", "web-2"))
		expect(ctx, from(client), testnet.TCP, all, answeredBy("web-1", "web-2").masqueraded())
	})

	It("Local shows the client's address to the endpoints of the node it came to", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeA, nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyLocal)
		expect(ctx, from(client), testnet.TCP, external, answeredBy("web-1", "web-2").withOwnSource())
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1", "web-2").withOwnSource())
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeB), answeredBy("web-3").withOwnSource())
	})

	It("Local gives pods all endpoints, unmasqueraded", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyLocal)
		expect(ctx, pods(), testnet.TCP, external, answeredBy("web-1", "web-2").withOwnSource())
		expect(ctx, from(podA), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1", "web-2").withOwnSource())
		expect(ctx, from(podB), testnet.TCP, nodePorts(service, nodeB), answeredBy("web-1", "web-2").withOwnSource())
	})

	It("Local gives a node's own processes all endpoints, and those of another node its local ones", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyLocal)
		expect(ctx, hosts(), testnet.TCP, external, answeredBy("web-1", "web-2"))
		expect(ctx, from(hostA), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1", "web-2"))
		expect(ctx, from(hostA), testnet.TCP, nodePorts(service, nodeB), answeredBy("web-2").withOwnSource())
		expect(ctx, from(hostB), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1").withOwnSource())
	})

	It("Local lets clients wait in vain at a node without endpoints", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyLocal)
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeB), answeredBy("web-1").withOwnSource())
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeA), silent)
		expect(ctx, from(client), testnet.TCP, external, silent)
		expect(ctx, inside(), testnet.TCP, external, answeredBy("web-1"))
	})

	It("leaves the cluster IP alone", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service, _ := exposed(ctx, corev1.ServiceExternalTrafficPolicyLocal)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
	})

	It("changes live", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service, external := exposed(ctx, corev1.ServiceExternalTrafficPolicyCluster)
		expect(ctx, from(client), testnet.TCP, external, answeredBy("web-1", "web-2").masqueraded())
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
		expect(ctx, from(client), testnet.TCP, external, answeredBy("web-1").withOwnSource())
	})
})

var _ = Describe("Both traffic policies", Label("externaltrafficpolicy", "internaltrafficpolicy"), func() {
	w := newWorld("bothpolicies")

	It("bind the frontends of their own kind", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		local := corev1.ServiceInternalTrafficPolicyLocal
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeNodePort,
			InternalTrafficPolicy: &local,
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, from(podB, hostB), testnet.TCP, clusterIPs(service), answeredBy("web-2"))
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1").withOwnSource())
		expect(ctx, from(podA, hostA), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1", "web-2"))
	})
})
