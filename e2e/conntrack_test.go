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

var _ = Describe("UDP conntrack clean-up", Label("conntrack"), func() {
	w := newWorld("conntrack")
	serving := []cluster.Port{{Protocol: testnet.UDP, Number: 8080}}
	often := testnet.HoldOptions{Protocol: testnet.UDP, Interval: 50 * time.Millisecond, Timeout: 500 * time.Millisecond}

	run := func(ctx context.Context, name, node string) pod {
		return w.pod(ctx, "dns", cluster.PodSpec{Name: name, Node: node, Ports: serving})
	}
	dns := func(ctx context.Context) *corev1.Service {
		return w.service(ctx, "dns", corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{onPort("", corev1.ProtocolUDP, 53)},
		})
	}

	It("moves a flow from an endpoint that is gone to another", func(ctx SpecContext) {
		first := run(ctx, "dns-1", nodeA)
		service := dns(ctx)
		expect(ctx, everywhere(), testnet.UDP, nodePorts(service, nodeA), answeredBy("dns-1"))
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), answeredBy("dns-1"))
		flows := append(hold(ctx, inside(), clusterIPs(service), often), hold(ctx, from(client), nodePorts(service, nodeA), often)...)
		run(ctx, "dns-2", nodeB)
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), answeredBy("dns-1", "dns-2"))
		must(first.Remove(ctx))
		for _, flow := range flows {
			Eventually(func() map[string]int { return flow.Report().Servers }).WithContext(ctx).Should(Equal(map[string]int{"dns-2": 1}))
		}
	})

	It("leaves flows of endpoints that go on serving", func(ctx SpecContext) {
		run(ctx, "dns-1", nodeA)
		to := clusterIPs(dns(ctx))
		expect(ctx, inside(), testnet.UDP, to, answeredBy("dns-1"))
		patient := testnet.HoldOptions{Protocol: testnet.UDP, Interval: often.Interval, Timeout: 10 * time.Second}
		flows := hold(ctx, inside(), to, patient)
		second := run(ctx, "dns-2", nodeB)
		expect(ctx, inside(), testnet.UDP, to, answeredBy("dns-1", "dns-2"))
		must(second.Remove(ctx))
		expect(ctx, inside(), testnet.UDP, to, answeredBy("dns-1"))
		for _, flow := range flows {
			report := flow.Report()
			Expect(report.Failed).To(BeZero(), "%v", report)
			Expect(report.Moved).To(BeZero(), "%v", report)
		}
	})

	It("lets a flow that began before the first endpoint find it", func(ctx SpecContext) {
		service := dns(ctx)
		to := clusterIPs(service)[0]
		expect(ctx, pods(), testnet.UDP, clusterIPs(service), refused)
		// From one port all the time: its conntrack entry, if any, is in the way.
		source := netip.AddrPortFrom(netip.Addr{}, 5353)
		Expect(podA.ProbeWith(testnet.UDP, to, testnet.ProbeOptions{Source: source, Timeout: 200 * time.Millisecond}).Kind).NotTo(Equal(testnet.Answered))
		run(ctx, "dns-1", nodeB)
		Eventually(func() string {
			return podA.ProbeWith(testnet.UDP, to, testnet.ProbeOptions{Source: source, Timeout: 200 * time.Millisecond}).Server
		}).WithContext(ctx).Should(Equal("dns-1"))
	})
})
