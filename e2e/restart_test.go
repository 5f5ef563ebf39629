package e2e

import (
	"context"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// traffic is what goes on while something restarts: new connections all the
// time, and conversations that last.
type traffic struct {
	floods []*testnet.Flood
	holds  []*testnet.Hold
	stop   context.CancelFunc
}

// startTraffic connects each source to each destination until the spec ends.
func startTraffic(ctx context.Context, sources []prober, to []netip.AddrPort) *traffic {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &traffic{stop: cancel}
	DeferCleanup(cancel)
	for _, host := range sources {
		for _, dst := range to {
			t.floods = append(t.floods, onHost(host).Flood(ctx, testnet.FloodOptions{Dst: dst, Workers: 1, Rate: 50}))
			hold, err := onHost(host).Hold(ctx, testnet.HoldOptions{Dst: dst, Interval: 50 * time.Millisecond})
			Expect(err).NotTo(HaveOccurred())
			t.holds = append(t.holds, hold)
		}
	}
	return t
}

// expectUnharmed waits until all have succeeded once more, or failed, ends the
// traffic and holds it to have gone on all the time.
func (t *traffic) expectUnharmed() {
	GinkgoHelper()
	for _, flood := range t.floods {
		before := flood.Report().Opened
		Eventually(func() bool { report := flood.Report(); return report.Opened > before || report.Failed > 0 }).Should(BeTrue())
	}
	for _, hold := range t.holds {
		before := hold.Report().Pings
		Eventually(func() bool { report := hold.Report(); return report.Pings > before || report.Failed > 0 }).Should(BeTrue())
	}
	t.stop()
	for _, flood := range t.floods {
		report := flood.Wait()
		Expect(report.Opened).NotTo(BeZero())
		Expect(report.Failed).To(BeZero(), "%v %v", report, report.Errors)
	}
	for _, hold := range t.holds {
		report := hold.Wait()
		Expect(report.Pings).NotTo(BeZero())
		Expect(report.Failed).To(BeZero(), "%v %v", report, report.Errors)
	}
}

var _ = Describe("API server restart", Label("apiserver"), func() {
	w := newWorld("apiserver")

	It("leaves the data path as it is, and changes go on afterwards", func(ctx SpecContext) {
		backends := w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		to := append(clusterIPs(service), nodePorts(service, nodeA)...)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		t := startTraffic(ctx, inside(), to)
		start := stopAPIServer()
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		start(ctx)
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-3", Node: nodeB})
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))
		forgiveRefusals()
		t.expectUnharmed()
		must(backends[0].Remove(ctx))
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-2", "web-3"))
	})

	It("an agent that starts without it leaves the data path as it is, and is ready when it has seen the cluster", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-1", "web-2"))
		node := ours("agents to restart").Node(nodeB)
		t := startTraffic(ctx, from(podB, hostB), to)
		start := stopAPIServer()
		must(node.StopAgent())
		must(node.Launch(ctx, agent))
		Eventually(asking(ctx, hostB, healthz(nodeB, "/livez"))).WithContext(ctx).Should(Equal(200))
		Expect(asking(ctx, hostB, healthz(nodeB, "/readyz"))()).To(Equal(503))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-1", "web-2"))
		start(ctx)
		must(node.WaitForAgent(ctx))
		forgiveRefusals()
		t.expectUnharmed()
	})
})

// stopAPIServer stops the API server until start is called or the spec ends.
func stopAPIServer() (start func(context.Context)) {
	GinkgoHelper()
	server := ours("an API server to restart").ControlPlane
	must(server.StopAPIServer())
	stopped := true
	start = func(ctx context.Context) {
		if stopped {
			must(server.StartAPIServer(ctx))
		}
		stopped = false
	}
	DeferCleanup(func(ctx SpecContext) { start(ctx) })
	return start
}

var _ = Describe("Agent restart", Label("agentrestart"), func() {
	w := newWorld("restart")

	for _, way := range []struct {
		text string
		end  func(*cluster.Node) error
	}{
		{"after SIGTERM", (*cluster.Node).StopAgent},
		{"after SIGKILL", (*cluster.Node).KillAgent},
	} {
		It(way.text+" leaves the data path as it is, and makes up for what it missed", func(ctx SpecContext) {
			backends := w.backends(ctx, "web", nodeA, nodeB, nodeB)
			service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
			to := append(clusterIPs(service), nodePorts(service, nodeA)...)
			expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))

			t := startTraffic(ctx, from(podA, hostA), to)
			restartAgent(ctx, nodeA, agent, way.end, func() {
				expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))
			})
			expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2", "web-3"))
			t.expectUnharmed()

			restartAgent(ctx, nodeA, agent, way.end, func() {
				must(backends[1].Remove(ctx))
				w.pod(ctx, "web", cluster.PodSpec{Name: "web-4", Node: nodeA})
			})
			expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-3", "web-4"))
		})
	}

	It("forgets Services that went meanwhile", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		expect(ctx, from(podA, hostA), testnet.TCP, nodePorts(service, nodeA), answeredBy("web-1"))
		restartAgent(ctx, nodeA, agent, (*cluster.Node).StopAgent, func() { w.delete(ctx, service) })
		expect(ctx, from(podA), testnet.TCP, nodePorts(service, nodeA), refused)
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), silent)
	})

	It("keeps session affinity", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB, nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{SessionAffinity: corev1.ServiceAffinityClientIP})
		to := clusterIPs(service)
		expect(ctx, from(podA), testnet.TCP, to, answeredByOneOf("web-1", "web-2", "web-3", "web-4"))
		bound := []string{podA.Probe(testnet.TCP, to[0]).Server, podA.Probe(testnet.TCP, to[1]).Server}
		restartAgent(ctx, nodeA, agent, (*cluster.Node).StopAgent, func() {})
		for i := range to {
			expect(ctx, from(podA), testnet.TCP, to[i:i+1], answeredBy(bound[i]))
		}
	})

	It("with another service-proxy-name takes other Services", Label(better, "serviceproxyname"), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		w.change(ctx, service, func(s *corev1.Service) { s.Labels = map[string]string{serviceProxyName: "mine"} })
		to := clusterIPs(service)
		expect(ctx, pods(), testnet.TCP, to, silent)
		// It leaves default/kubernetes alone: it is ready, but does not work as others.
		node := ours("agents to restart").Node(nodeB)
		DeferCleanup(func(ctx SpecContext) {
			must(node.StopAgent())
			must(node.StartAgent(ctx, agent))
		})
		must(node.StopAgent())
		must(node.Launch(ctx, agent.With("--service-proxy-name=mine")))
		expect(ctx, from(podB, hostB), testnet.TCP, to, answeredBy("web-1", "web-2"))
		expect(ctx, from(podA), testnet.TCP, to, silent)
	})
})

// restartAgent ends the agent of a node, does what is to happen without it, and
// starts it again.
func restartAgent(ctx context.Context, name string, agent *cluster.Agent, end func(*cluster.Node) error, meanwhile func()) {
	GinkgoHelper()
	node := ours("agents to restart").Node(name)
	running := true
	DeferCleanup(func(ctx SpecContext) {
		if !running {
			must(node.StartAgent(ctx, agent))
		}
	})
	must(end(node))
	running = false
	meanwhile()
	must(node.StartAgent(ctx, agent))
	running = true
}
