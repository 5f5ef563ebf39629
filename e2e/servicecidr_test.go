package e2e

import (
	"context"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Service CIDRs", Label("servicecidr", better), func() {
	w := newWorld("servicecidr")

	It("that are added take their unused addresses off the network, until they go", func(ctx SpecContext) {
		ours("addresses for Services")
		unused := at(textToAddrs("10.97.0.77", "fd00:10:97::77"), 80)
		expect(ctx, inside(), testnet.TCP, unused, unreachable)
		remove := addServiceCIDR(ctx, "second", "10.97.0.0/24", "fd00:10:97::/112")
		expect(ctx, inside(), testnet.TCP, unused, silent)
		remove(ctx)
		expect(ctx, inside(), testnet.TCP, unused, unreachable)
	})

	It("that are added serve Services", func(ctx SpecContext) {
		ours("addresses for Services")
		addServiceCIDR(ctx, "third", "10.98.0.0/24", "fd00:10:98::/112")
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			ClusterIP: "10.98.0.10", ClusterIPs: []string{"10.98.0.10", "fd00:10:98::a"},
		})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
		w.delete(ctx, service)
		expect(ctx, pods(), testnet.TCP, clusterIPs(service), silent)
	})
})

// addServiceCIDR gives the cluster more addresses for Services until remove is
// called or the spec ends. It returns when the API server gives them out.
func addServiceCIDR(ctx context.Context, name string, cidrs ...string) (remove func(context.Context)) {
	GinkgoHelper()
	client := api().NetworkingV1().ServiceCIDRs()
	_, err := client.Create(ctx, &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs},
	}, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	remove = func(ctx context.Context) {
		err := client.Delete(ctx, name, metav1.DeleteOptions{})
		Expect(apierrors.IsNotFound(err) || err == nil).To(BeTrue(), "%v", err)
	}
	DeferCleanup(func(ctx SpecContext) { remove(ctx) })
	first := netip.MustParsePrefix(cidrs[0]).Addr().Next().String()
	single := corev1.IPFamilyPolicySingleStack
	Eventually(func() error {
		_, err := api().CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "try-"},
			Spec: corev1.ServiceSpec{
				ClusterIP: first, IPFamilyPolicy: &single, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}).WithContext(ctx).Should(Succeed())
	return remove
}
