package e2e

import (
	"encoding/json"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Health-check node port", Label("healthchecknodeport"), func() {
	w := newWorld("healthcheck")

	balancer := func(ctx SpecContext) *corev1.Service {
		return w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
	}
	url := func(service *corev1.Service, node string, f testnet.Family) string {
		addr, _ := nodeHost(node).Addr(f)
		return "http://" + at(textToAddrs(addr.String()), service.Spec.HealthCheckNodePort)[0].String() + "/any/path"
	}

	It("counts the endpoints of its node", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeA)
		service := balancer(ctx)
		for _, f := range []testnet.Family{testnet.IPv4, testnet.IPv6} {
			Eventually(asking(ctx, client, url(service, nodeA, f))).WithContext(ctx).Should(Equal(200))
			Eventually(asking(ctx, client, url(service, nodeB, f))).WithContext(ctx).Should(Equal(503))
		}
		Eventually(func(g Gomega) {
			a, err := get(ctx, client, url(service, nodeA, testnet.IPv4))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(a.header.Get("Content-Type")).To(Equal("application/json"))
			g.Expect(a.header.Get("X-Content-Type-Options")).To(Equal("nosniff"))
			g.Expect(a.header.Get("X-Load-Balancing-Endpoint-Weight")).To(Equal("2"))
			g.Expect(a.body).To(MatchJSON(fmt.Sprintf(
				`{"service":{"namespace":%q,"name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}`, w.namespace)))
		}).WithContext(ctx).Should(Succeed())
	})

	It("follows the endpoints; terminating ones don't count", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA)
		service := balancer(ctx)
		at := url(service, nodeA, testnet.IPv4)
		Eventually(asking(ctx, client, at)).WithContext(ctx).Should(Equal(200))
		must(backends[0].Terminate(ctx))
		Eventually(asking(ctx, client, at)).WithContext(ctx).Should(Equal(503))
	})

	It("closes with the Service, and when the policy is no longer Local", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := balancer(ctx)
		at := url(service, nodeA, testnet.IPv4)
		Eventually(asking(ctx, client, at)).WithContext(ctx).Should(Equal(200))
		w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyCluster, 0
		})
		Eventually(func() error { _, err := get(ctx, client, at); return err }).WithContext(ctx).Should(MatchError(ContainSubstring("refused")))
	})

	It("answers in both families for a Service of one", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		single := corev1.IPFamilyPolicySingleStack
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, IPFamilyPolicy: &single,
		})
		for _, f := range []testnet.Family{testnet.IPv4, testnet.IPv6} {
			Eventually(asking(ctx, client, url(service, nodeA, f))).WithContext(ctx).Should(Equal(200))
		}
	})
})

var _ = Describe("Probes of the agent", Label("healthz"), func() {
	It("are answered well", func(ctx SpecContext) {
		for _, path := range []string{"/healthz", "/livez"} {
			for _, node := range []string{nodeA, nodeB} {
				Eventually(asking(ctx, client, healthz(node, path))).WithContext(ctx).Should(Equal(200), node+path)
			}
		}
	})

	It("tell when the agent was last in step, as JSON", func(ctx SpecContext) {
		var got struct {
			LastUpdated, CurrentTime string
			NodeEligible             *bool
		}
		a, err := get(ctx, client, healthz(nodeA, "/healthz"))
		Expect(err).NotTo(HaveOccurred())
		Expect(json.Unmarshal([]byte(a.body), &got)).To(Succeed(), a.body)
		Expect(got.LastUpdated).NotTo(BeEmpty())
		Expect(got.CurrentTime).NotTo(BeEmpty())
		Expect(got.NodeEligible).To(HaveValue(BeTrue()))
	})

	It("tell that the agent is ready", Label(better), func(ctx SpecContext) {
		Eventually(asking(ctx, client, healthz(nodeA, "/readyz"))).WithContext(ctx).Should(Equal(200))
	})

	It("send load balancers away from a node that the autoscaler removes", func(ctx SpecContext) {
		Eventually(asking(ctx, client, healthz(nodeA, "/healthz"))).WithContext(ctx).Should(Equal(200))
		changeNode(ctx, nodeA, func(n *corev1.Node) {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{
				Key: "ToBeDeletedByClusterAutoscaler", Value: "1", Effect: corev1.TaintEffectNoSchedule,
			})
		})
		Eventually(asking(ctx, client, healthz(nodeA, "/healthz"))).WithContext(ctx).Should(Equal(503))
		Expect(asking(ctx, client, healthz(nodeA, "/livez"))()).To(Equal(200))
		Expect(asking(ctx, client, healthz(nodeB, "/healthz"))()).To(Equal(200))
	})

	It("send load balancers away from a node that is being deleted", Label(better), func(ctx SpecContext) {
		addNode(ctx, "node-c", &corev1.Node{})
		runAgent(ctx, nodeB, agent.With("--node-name=node-c"))
		Eventually(asking(ctx, client, healthz(nodeB, "/healthz"))).WithContext(ctx).Should(Equal(200))
		must(api().CoreV1().Nodes().Delete(ctx, "node-c", metav1.DeleteOptions{}))
		Eventually(asking(ctx, client, healthz(nodeB, "/healthz"))).WithContext(ctx).Should(Equal(503))
		Expect(asking(ctx, client, healthz(nodeB, "/livez"))()).To(Equal(200))
	})

	It("are answered once their address is free, and the wait is told on the node", Label(better, "events"), func(ctx SpecContext) {
		node := ours("agents to restart").Node(nodeB)
		must(node.StopAgent())
		taken, err := node.Host.Serve(testnet.TCP, 10256)
		must(err)
		DeferCleanup(func() { must(taken.Close()) })
		must(node.Launch(ctx, agent))
		Eventually(eventsOn(ctx, metav1.NamespaceDefault, "Node", nodeB)).WithContext(ctx).
			Should(ContainElement(And(HavePrefix("Warning FailedToListen "), ContainSubstring("10256"))))
		must(taken.Close())
		Eventually(asking(ctx, client, healthz(nodeB, "/healthz"))).WithContext(ctx).Should(Equal(200))
	})

	It("are good again when the taint goes", func(ctx SpecContext) {
		Eventually(asking(ctx, client, healthz(nodeA, "/healthz"))).WithContext(ctx).Should(Equal(200))
	})
})

// healthz is a URL of the agent of a node, as its kubelet or a load balancer asks.
func healthz(node, path string) string {
	GinkgoHelper()
	return "http://" + at(nodeHost(node).Addrs()[:1], 10256)[0].String() + path
}
