package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// operator is where a node's operator asks the agent.
const operator = "http://127.0.0.1:10249"

// metric returns a function that sums up the series of a name whose labels match,
// for Eventually.
func metric(ctx context.Context, node prober, name, labels string) func() (float64, error) {
	line := regexp.MustCompile(`(?m)^` + name + `(?:\{(.*)\})? (\S+)$`)
	wanted := regexp.MustCompile(labels)
	return func() (sum float64, err error) {
		a, err := get(ctx, node, operator+"/metrics")
		if err != nil {
			return 0, err
		}
		found := false
		for _, m := range line.FindAllStringSubmatch(a.body, -1) {
			if !wanted.MatchString(m[1]) {
				continue
			}
			found = true
			value, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return 0, err
			}
			sum += value
		}
		if !found {
			return 0, fmt.Errorf("no series %s{%s}", name, labels)
		}
		return sum, nil
	}
}

var _ = Describe("Metrics", Label("metrics"), func() {
	w := newWorld("metrics")

	It("tell the mode, at the address of the node's operator only", func(ctx SpecContext) {
		a, err := get(ctx, hostA, operator+"/proxyMode")
		Expect(err).NotTo(HaveOccurred())
		Expect(a.body).To(Equal("nftables"))
		_, err = get(ctx, client, "http://"+at(nodeHost(nodeA).Addrs()[:1], 10249)[0].String()+"/metrics")
		Expect(err).To(HaveOccurred())
	})

	It("are complete", Label(better), func(ctx SpecContext) {
		for _, name := range []string{
			"kubeproxy_sync_proxy_rules_last_timestamp_seconds", "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
			"kubeproxy_sync_proxy_rules_service_changes_pending", "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
			"kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
			"kube_vmap_sync_phase_duration_seconds_count", "kube_vmap_transaction_operations_count", "kube_vmap_transactions_total",
			"kube_vmap_elements", "kube_vmap_repairs_total", "kube_vmap_conntrack_deleted_total", "kube_vmap_build_info",
		} {
			_, err := metric(ctx, hostA, name, "")()
			Expect(err).NotTo(HaveOccurred())
		}
	})

	It("stand beside the configuration, and a profile for who asked for it", Label(better), func(ctx SpecContext) {
		runAgent(ctx, nodeB, agent.With("--profiling"))
		a, err := get(ctx, hostB, operator+"/configz")
		Expect(err).NotTo(HaveOccurred())
		Expect(a.status).To(Equal(200))
		Expect(json.Valid([]byte(a.body))).To(BeTrue(), a.body)
		Expect(a.body).To(ContainSubstring(cluster.PodCIDRs()[0].String()))
		Expect(asking(ctx, hostB, operator+"/debug/pprof/")()).To(Equal(200))
		Expect(asking(ctx, hostA, operator+"/debug/pprof/")()).To(Equal(404))
		Expect(asking(ctx, hostA, operator+"/healthz")()).To(Equal(200))
	})

	It("count changes and syncs under kube-proxy's names", func(ctx SpecContext) {
		services := metric(ctx, hostA, "kubeproxy_sync_proxy_rules_service_changes_total", "")
		slices := metric(ctx, hostA, "kubeproxy_sync_proxy_rules_endpoint_changes_total", "")
		syncs := metric(ctx, hostA, "kubeproxy_sync_proxy_rules_duration_seconds_count", "")
		var before [3]float64
		for i, f := range []func() (float64, error){services, slices, syncs} {
			var err error
			before[i], err = f()
			Expect(err).NotTo(HaveOccurred())
		}
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		Eventually(services).WithContext(ctx).Should(BeNumerically(">", before[0]))
		Eventually(slices).WithContext(ctx).Should(BeNumerically(">", before[1]))
		Eventually(syncs).WithContext(ctx).Should(BeNumerically(">", before[2]))
		Eventually(metric(ctx, hostA, "kubeproxy_network_programming_duration_seconds_count", "")).
			WithContext(ctx).Should(BeNumerically(">", 0))
	})

	It("count Services whose traffic policy finds no endpoint here", func(ctx SpecContext) {
		count := metric(ctx, hostA, "kubeproxy_sync_proxy_rules_no_local_endpoints_total", `traffic_policy="internal"`)
		before, err := count()
		Expect(err).NotTo(HaveOccurred())
		w.backends(ctx, "web", nodeB)
		local := corev1.ServiceInternalTrafficPolicyLocal
		service := w.service(ctx, "web", corev1.ServiceSpec{InternalTrafficPolicy: &local})
		Eventually(count).WithContext(ctx).Should(Equal(before + 2)) // one for each family
		w.delete(ctx, service)
		Eventually(count).WithContext(ctx).Should(Equal(before))
	})

	It("count answers to probes", func(ctx SpecContext) {
		_, err := get(ctx, hostA, "http://"+at(nodeHost(nodeA).Addrs()[:1], 10256)[0].String()+"/healthz")
		Expect(err).NotTo(HaveOccurred())
		Eventually(metric(ctx, hostA, "kubeproxy_proxy_healthz_total", `code="200"`)).WithContext(ctx).Should(BeNumerically(">", 0))
	})

	It("count new connections for each service port", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		labels := fmt.Sprintf(`namespace=%q.*service="web"`, w.namespace)
		Eventually(metric(ctx, hostA, "kube_vmap_service_port_connections_total", labels)).
			WithContext(ctx).Should(BeNumerically(">=", 2*answeredBy("web-1").probes()))
	})

	It("tell that the agent is ready, and what it could not use", Label(better), func(ctx SpecContext) {
		Eventually(metric(ctx, hostA, "kube_vmap_ready", "")).WithContext(ctx).Should(Equal(1.0))
		quarantined := metric(ctx, hostA, "kube_vmap_quarantined_objects", "")
		Eventually(quarantined).WithContext(ctx).Should(Equal(0.0))
		service := w.service(ctx, "web", corev1.ServiceSpec{ExternalIPs: []string{"239.1.2.3"}})
		Eventually(quarantined).WithContext(ctx).Should(Equal(1.0))
		w.delete(ctx, service)
		Eventually(quarantined).WithContext(ctx).Should(Equal(0.0))
	})

	It("count conflicts", Label(better, "conflicts"), func(ctx SpecContext) {
		conflicts := metric(ctx, hostA, "kube_vmap_conflicts", "")
		Eventually(conflicts).WithContext(ctx).Should(Equal(0.0))
		addrs := vips(nodeA)
		w.service(ctx, "one", corev1.ServiceSpec{ExternalIPs: textsOf(addrs)})
		two := w.service(ctx, "two", corev1.ServiceSpec{ExternalIPs: textsOf(addrs)})
		Eventually(conflicts).WithContext(ctx).Should(Equal(2.0))
		w.delete(ctx, two)
		Eventually(conflicts).WithContext(ctx).Should(Equal(0.0))
	})
})
