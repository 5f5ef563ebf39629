package e2e

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Source ranges", Label("sourceranges"), func() {
	w := newWorld("sourceranges")

	// balancer makes a load balancer on node-a with an endpoint, and returns its
	// addresses.
	balancer := func(ctx SpecContext, ranges ...string) (*corev1.Service, []netip.Addr) {
		w.backends(ctx, "web", nodeB)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerSourceRanges: ranges,
		})
		return w.setIngress(ctx, service, ingressOf(addrs...)...), addrs
	}

	It("admit clients in them, and let the others wait in vain", func(ctx SpecContext) {
		_, addrs := balancer(ctx, "198.51.100.0/24", "2001:db8:100::/64")
		expect(ctx, from(client), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
		expect(ctx, pods(), testnet.TCP, at(addrs, 80), silent)
	})

	It("admit a node's own processes if they name the node", func(ctx SpecContext) {
		_, addrs := balancer(ctx, nodeRanges(nodeA)...)
		expect(ctx, from(hostA), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
		expect(ctx, from(hostB, podA, podB), testnet.TCP, at(addrs, 80), silent)
	})

	It("do not bind node ports and the cluster IP", func(ctx SpecContext) {
		service, addrs := balancer(ctx, "192.0.2.77/32", "2001:db8:2::77/128")
		expect(ctx, everywhere(), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredBy("web-1"))
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, from(client), testnet.TCP, at(addrs, 80), silent)
	})

	It("change live", func(ctx SpecContext) {
		service, addrs := balancer(ctx, "198.51.100.0/24", "2001:db8:100::/64")
		expect(ctx, from(podA), testnet.TCP, at(addrs, 80), silent)
		w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.LoadBalancerSourceRanges = []string{"10.244.0.0/16", "fd00:10:244::/48"}
		})
		expect(ctx, pods(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
		expect(ctx, from(client), testnet.TCP, at(addrs, 80), silent)
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
	})

	It("of everyone filter nothing", func(ctx SpecContext) {
		_, addrs := balancer(ctx, "0.0.0.0/0", "::/0")
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("web-1"))
	})
})

// nodeRanges are the addresses of a node as source ranges.
func nodeRanges(node string) (ranges []string) {
	GinkgoHelper()
	for _, addr := range nodeHost(node).Addrs() {
		ranges = append(ranges, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return ranges
}
