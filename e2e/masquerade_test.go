package e2e

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// What is masqueraded by default, the specs of each kind of frontend say.
var _ = Describe("Masquerading", Label("masquerade", better), func() {
	w := newWorld("masquerade")

	It("of everything to cluster IPs comes with --masquerade-all", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		runAgent(ctx, nodeA, agent.With("--masquerade-all"))
		expect(ctx, from(podA), testnet.TCP, to, answeredBy("web-1", "web-2").masqueraded())
		expect(ctx, from(podB), testnet.TCP, to, answeredBy("web-1", "web-2").withOwnSource())
	})

	It("by the node's pod CIDRs begins when the node gets them", func(ctx SpecContext) {
		addNode(ctx, "node-c", &corev1.Node{})
		runAgent(ctx, nodeB, agent.With("--node-name=node-c", "--detect-local-mode=NodeCIDR", "--cluster-cidr="))
		w.backends(ctx, "web", nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		for _, a := range to {
			route(netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), nodeB)
		}
		expect(ctx, from(client, podB), testnet.TCP, to, answeredBy("web-1").withOwnSource())
		node, err := api().CoreV1().Nodes().Get(ctx, nodeB, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		changeNode(ctx, "node-c", func(n *corev1.Node) { n.Spec.PodCIDR, n.Spec.PodCIDRs = node.Spec.PodCIDR, node.Spec.PodCIDRs })
		expect(ctx, from(client), testnet.TCP, to, answeredBy("web-1").masqueraded())
		expect(ctx, from(podB), testnet.TCP, to, answeredBy("web-1").withOwnSource())
	})
})
