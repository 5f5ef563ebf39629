package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Topology", Label("topology"), func() {
	w := newWorld("topology")

	// hinted is a Service with an endpoint for each zone, zone-a and zone-b.
	hinted := func(ctx SpecContext) *corev1.Service {
		service := w.noSelector(ctx)
		one := w.pod(ctx, "", cluster.PodSpec{Name: "for-a", Node: nodeA})
		two := w.pod(ctx, "", cluster.PodSpec{Name: "for-b", Node: nodeA})
		for _, f := range []testnet.Family{testnet.IPv4, testnet.IPv6} {
			endpoints := endpointsOf(f, one, two)
			for i, zone := range []string{"zone-a", "zone-b"} {
				endpoints[i].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
			}
			w.slice(ctx, handmade("web", f, "", 8080, endpoints))
		}
		return service
	}

	It("keeps connections in their zone as the hints say", func(ctx SpecContext) {
		service := hinted(ctx)
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("for-a"))
		expect(ctx, from(podB, hostB), testnet.TCP, clusterIPs(service), answeredBy("for-b"))
	})

	It("follows the node's zone live", func(ctx SpecContext) {
		service := hinted(ctx)
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("for-a"))
		label(ctx, nodeA, corev1.LabelTopologyZone, "zone-b")
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("for-b"))
		label(ctx, nodeA, corev1.LabelTopologyZone, "zone-c")
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("for-a", "for-b"))
	})
})

var _ = Describe("Traffic distribution", Label("trafficdistribution"), func() {
	w := newWorld("distribution")

	for _, value := range []string{corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferClose} {
		It(value+" keeps connections in their zone while it has endpoints", func(ctx SpecContext) {
			backends := w.backends(ctx, "web", nodeA, nodeA, nodeB)
			to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{TrafficDistribution: &value}))
			expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2"))
			expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-3"))
			must(backends[2].SetReady(ctx, false))
			expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-1", "web-2"))
		})
	}

	It("PreferSameNode keeps connections on their node while it has endpoints", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		value := corev1.ServiceTrafficDistributionPreferSameNode
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{TrafficDistribution: &value}))
		expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1"))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-2"))
		must(backends[0].Remove(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2"))
	})
})

// label sets a label of a node until the spec ends.
func label(ctx context.Context, node, key, value string) {
	GinkgoHelper()
	changeNode(ctx, node, func(n *corev1.Node) { metav1.SetMetaDataLabel(&n.ObjectMeta, key, value) })
}

// changeNode changes a node's metadata and spec, until the spec ends.
func changeNode(ctx context.Context, name string, change func(*corev1.Node)) {
	GinkgoHelper()
	ours("nodes to change")
	update := func(ctx context.Context, change func(*corev1.Node)) (before *corev1.Node) {
		Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
			node, err := api().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			before = node.DeepCopy()
			change(node)
			_, err = api().CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
			return err
		})).To(Succeed())
		return before
	}
	before := update(ctx, change)
	DeferCleanup(func(ctx SpecContext) {
		update(ctx, func(n *corev1.Node) { n.Labels, n.Spec.Taints = before.Labels, before.Spec.Taints })
	})
}
