package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Table", Label("table", better), func() {
	w := newWorld("table")

	// served is a Service that node-a serves.
	served := func(ctx context.Context) *corev1.Service {
		GinkgoHelper()
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
		return service
	}

	It("can't be changed by other processes: a flush of all rules harms no connection", func(ctx SpecContext) {
		to := clusterIPs(served(ctx))
		t := startTraffic(ctx, from(podA, hostA), to)
		// nft names no table here, and passes by those of others.
		_, err := nodeHost(nodeA).Run("nft", "flush", "ruleset")
		must(err)
		_, err = nodeHost(nodeA).Run("nft", "delete", "table", "inet", "kube-vmap")
		Expect(err).To(MatchError(ContainSubstring("Operation not permitted")))
		expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1", "web-2"))
		t.expectUnharmed()
	})

	It("is repaired when another process changes it, and the change is told on the node", Label("events"), func(ctx SpecContext) {
		giveUpTable(ctx, nodeA)
		service := served(ctx)
		repairs := metric(ctx, hostA, "kube_vmap_repairs_total", "")
		before, err := repairs()
		Expect(err).NotTo(HaveOccurred())
		for _, element := range []string{
			fmt.Sprintf("services4 { %s . tcp . 80 }", service.Spec.ClusterIPs[0]),
			fmt.Sprintf("backends6 { %s . tcp . 80 . 0 }", service.Spec.ClusterIPs[1]),
		} {
			_, err := nodeHost(nodeA).Run("nft", "delete element inet kube-vmap "+element)
			must(err)
		}
		Eventually(repairs).WithContext(ctx).Should(BeNumerically(">", before))
		expect(ctx, from(podA, hostA), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
		Eventually(eventsOn(ctx, metav1.NamespaceDefault, "Node", nodeA)).WithContext(ctx).
			Should(ContainElement(And(HavePrefix("Warning ForeignChange "), ContainSubstring(`"nft"`), ContainSubstring("is repaired"))))
		Eventually(metric(ctx, hostA, "kube_vmap_foreign_changes_total", `process="nft"`)).WithContext(ctx).Should(BeNumerically(">", 0))
	})
})

// giveUpTable lets other processes change the table of a node until the spec ends.
func giveUpTable(ctx context.Context, node string) {
	GinkgoHelper()
	Expect(apply("open", fmt.Sprintf("{nodeSelector: {%s: %s}, tableOwnership: Disabled}", corev1.LabelHostname, node))).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { must(proxyConfigs().Delete(ctx, "open", metav1.DeleteOptions{})) })
	Eventually(func() (string, error) {
		return nodeHost(node).Run("nft", "-t", "list", "table", "inet", "kube-vmap")
	}).WithContext(ctx).ShouldNot(ContainSubstring("flags owner"))
}
