package e2e

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("ClusterIP", Label("clusterip"), func() {
	w := newWorld("clusterip")

	It("is balanced over all endpoints, from pods and from the nodes themselves", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))
	})

	It("keeps the source address of pods", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, pods(), testnet.TCP, to, answeredBy("web-1", "web-2").withOwnSource())
	})

	It("masquerades connections from outside the cluster", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		for _, a := range to {
			route(netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), nodeA)
		}
		expect(ctx, from(client), testnet.TCP, to, answeredBy("web-1", "web-2").masqueraded())
	})

	It("leads an endpoint to itself, masqueraded", func(ctx SpecContext) {
		for _, node := range []string{nodeA, nodeB} {
			pod := w.pod(ctx, "self-"+node, cluster.PodSpec{Name: "self-" + node, Node: node})
			to := clusterIPs(w.service(ctx, "self-"+node, corev1.ServiceSpec{}))
			expect(ctx, from(inPod(pod)), testnet.TCP, to, answeredBy(pod.Name()).masqueraded())
		}
	})

	It("follows endpoints that come, go and become unready", func(ctx SpecContext) {
		pods := w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		must(pods[0].SetReady(ctx, false))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2"))
		must(pods[0].SetReady(ctx, true))
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-3", Node: nodeA})
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))
		must(pods[1].Remove(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-3"))
	})

	It("serves endpoints on the network of their node", func(ctx SpecContext) {
		port := cluster.Port{Protocol: testnet.TCP, Number: 18080}
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-1", Node: nodeA, HostNetwork: true, Ports: []cluster.Port{port}})
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-2", Node: nodeB, HostNetwork: true, Ports: []cluster.Port{port}})
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(18080)}},
		}))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
	})

	It("follows the Service's ports", func(ctx SpecContext) {
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-1", Node: nodeA, Ports: []cluster.Port{
			{Protocol: testnet.TCP, Number: 8080}, {Protocol: testnet.TCP, Number: 9090},
		}})
		w.pod(ctx, "", cluster.PodSpec{Name: "other", Node: nodeA})
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.Ports[0].Port, s.Spec.Ports[0].TargetPort = 81, intstr.FromInt32(9090)
		})
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 81), answeredBy("web-1"))
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 80), refused)
	})

	It("refuses ports that the Service does not have", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 8080), refused)
		expect(ctx, inside(), testnet.UDP, clusterIPsAt(service, 80), refused)
	})

	It("lets connections to addresses that no Service has vanish", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		to := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1"))
		w.delete(ctx, service)
		expect(ctx, pods(), testnet.TCP, to, silent)
	})
})
