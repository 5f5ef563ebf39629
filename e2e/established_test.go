package e2e

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Established connections", Label("established"), func() {
	w := newWorld("established")

	It("outlive that their endpoint is no longer ready, and that it is deleted", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		to := append(clusterIPs(service), nodePorts(service, nodeA)...)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		connections := holdTCP(ctx, inside(), to)
		must(backends[0].SetReady(ctx, false))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2"))
		must(backends[1].Terminate(ctx))
		w.backends(ctx, "other", nodeA)
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "other"} })
		expect(ctx, inside(), testnet.TCP, to, answeredBy("other-1"))
		connections.expectAlive(ctx)
	})

	It("outlive changes of their Service, and its end", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		to := append(clusterIPs(service), nodePorts(service, nodeA)...)
		expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2"))
		atNode := holdTCP(ctx, from(podA, hostA, client), nodePorts(service, nodeA))
		inCluster := holdTCP(ctx, inside(), clusterIPs(service))
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
			s.Spec.Ports[0].Port, s.Spec.Ports[0].TargetPort = 81, intstr.FromInt32(8080)
		})
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 81), answeredBy("web-1", "web-2"))
		expect(ctx, inside(), testnet.TCP, clusterIPsAt(service, 80), refused)
		w.delete(ctx, service)
		expect(ctx, pods(), testnet.TCP, clusterIPsAt(service, 81), silent)
		atNode.expectAlive(ctx)
		inCluster.expectAlive(ctx)
	})
})

// connections are TCP connections that are in use.
type connections struct {
	holds []*testnet.Hold
}

// holdTCP opens a connection from each source to each destination and uses it
// until the spec ends.
func holdTCP(ctx context.Context, sources []prober, to []netip.AddrPort) connections {
	GinkgoHelper()
	return connections{hold(ctx, sources, to, testnet.HoldOptions{Interval: 50 * time.Millisecond, Timeout: 10 * time.Second})}
}

// expectAlive waits until each connection has been used once more, and that none
// has failed.
func (c connections) expectAlive(ctx context.Context) {
	GinkgoHelper()
	for _, h := range c.holds {
		before := h.Report().Pings
		Eventually(func(g Gomega) {
			report := h.Report()
			g.Expect(report.Failed).To(BeZero(), "%v", report)
			g.Expect(report.Pings).To(BeNumerically(">", before+1))
		}).WithContext(ctx).Should(Succeed())
	}
}

// hold holds conversations from each source with each destination until the spec
// ends.
func hold(ctx context.Context, sources []prober, to []netip.AddrPort, options testnet.HoldOptions) (holds []*testnet.Hold) {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	DeferCleanup(func() {
		cancel()
		for _, h := range holds {
			h.Wait()
		}
	})
	for _, source := range sources {
		for _, dst := range to {
			options.Dst = dst
			h, err := onHost(source).Hold(ctx, options)
			Expect(err).NotTo(HaveOccurred(), "%s to %s", source.Name(), dst)
			holds = append(holds, h)
		}
	}
	return holds
}
