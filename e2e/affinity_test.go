package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Session affinity", Label("affinity"), func() {
	w := newWorld("affinity")

	// sticky is a Service that binds clients for a number of seconds.
	sticky := func(ctx SpecContext, seconds int32, ports ...corev1.ServicePort) *corev1.Service {
		return w.service(ctx, "web", corev1.ServiceSpec{
			Type:            corev1.ServiceTypeNodePort,
			Ports:           ports,
			SessionAffinity: corev1.ServiceAffinityClientIP,
			SessionAffinityConfig: &corev1.SessionAffinityConfig{
				ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds},
			},
		})
	}

	It("gives a client the same endpoint again and again", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB, nodeB)
		service := sticky(ctx, 10800)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredByOneOf("web-1", "web-2", "web-3"))
		expect(ctx, from(client), testnet.TCP, nodePorts(service, nodeA, nodeB), answeredByOneOf("web-1", "web-2", "web-3"))
	})

	It("moves a client when its endpoint goes", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(sticky(ctx, 10800))[:1]
		expect(ctx, from(podA), testnet.TCP, to, answeredByOneOf("web-1", "web-2"))
		bound := podA.Probe(testnet.TCP, to[0]).Server
		other := "web-1"
		for _, pod := range backends {
			if pod.Name() == bound {
				must(pod.Remove(ctx))
			} else {
				other = pod.Name()
			}
		}
		expect(ctx, from(podA), testnet.TCP, to, answeredBy(other))
	})

	It("ends when a client has been away for the timeout", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB, nodeA, nodeB)
		to := clusterIPs(sticky(ctx, 1))[0]
		seen := map[string]bool{}
		// Each connection renews the binding, so they must be further apart.
		Eventually(func() int {
			if got := podA.Probe(testnet.TCP, to); got.Kind == testnet.Answered {
				seen[got.Server] = true
			}
			return len(seen)
		}).WithContext(ctx).WithPolling(1500 * time.Millisecond).Should(BeNumerically(">", 1))
	})

	It("is renewed by each connection", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB, nodeA, nodeB)
		const timeout = 3 * time.Second
		to := clusterIPs(sticky(ctx, int32(timeout.Seconds())))[:1]
		expect(ctx, from(podA), testnet.TCP, to, answeredByOneOf("web-1", "web-2", "web-3", "web-4"))
		Eventually(func() error { return connectOften(podA, to[0], timeout) }).WithContext(ctx).Should(Succeed())
	})

	It("is turned on and off live", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		to := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP })
		expect(ctx, inside(), testnet.TCP, to, answeredByOneOf("web-1", "web-2"))
		w.change(ctx, service, func(s *corev1.Service) {
			s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = corev1.ServiceAffinityNone, nil
		})
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
	})

	It("holds for UDP too", func(ctx SpecContext) {
		for i, node := range []string{nodeA, nodeB} {
			w.pod(ctx, "web", cluster.PodSpec{
				Name: []string{"web-1", "web-2"}[i], Node: node, Ports: []cluster.Port{{Protocol: testnet.UDP, Number: 8080}},
			})
		}
		service := sticky(ctx, 10800, corev1.ServicePort{Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: intstr.FromInt32(8080)})
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), answeredByOneOf("web-1", "web-2"))
	})
})

// connectOften connects for longer than the timeout of bindings, with pauses much
// shorter than it, and holds always the same server to answer. If the machine was
// too slow for that, it is an error to try again after.
func connectOften(from prober, to netip.AddrPort, timeout time.Duration) error {
	began := time.Now()
	first, last := from.Probe(testnet.TCP, to).Server, began
	for time.Since(began) < timeout*3/2 {
		time.Sleep(timeout / 10)
		before := last
		last = time.Now()
		server := from.Probe(testnet.TCP, to).Server
		if time.Since(before) > timeout*2/3 {
			return errors.New("too much time between two connections to tell")
		}
		if server != first {
			return StopTrying(fmt.Sprintf("%s answered, want %s, which did first", server, first))
		}
	}
	return nil
}
