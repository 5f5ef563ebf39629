package e2e

import (
	"context"
	"net/netip"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

var _ = Describe("Node address changes", Label("node"), func() {
	w := newWorld("node")

	It("move node ports to the node's new address at once", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		before := nodePorts(service, nodeA)
		expect(ctx, everywhere(), testnet.TCP, before, answeredBy("web-1"))

		after := at(textToAddrs("192.0.2.11", "2001:db8:2::11"), service.Spec.Ports[0].NodePort)
		addAddr(nodeA, "192.0.2.11/24")
		addAddr(nodeA, "2001:db8:2::11/64")
		expect(ctx, from(client, podB), testnet.TCP, after, refused)
		setAddresses(ctx, nodeA, "192.0.2.11", "2001:db8:2::11")
		expect(ctx, from(client, podA, podB, hostB), testnet.TCP, after, answeredBy("web-1"))
		expect(ctx, from(client, podB), testnet.TCP, before, refused)
	})

	It("open node ports on addresses within nodePortAddresses as they come", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		port := service.Spec.Ports[0].NodePort
		runAgent(ctx, nodeA, agent.With("--nodeport-addresses=192.0.2.128/25"))
		expect(ctx, from(client, podB), testnet.TCP, nodePorts(service, nodeA), refused)
		remove := addAddr(nodeA, "192.0.2.200/24")
		later := at(textToAddrs("192.0.2.200"), port)
		expect(ctx, from(client, podB), testnet.TCP, later, answeredBy("web-1"))
		remove()
		expectNoAnswer(ctx, from(client, podB), later)
	})
})

// addAddr gives a node an address until remove is called or the spec ends.
func addAddr(node, prefix string) (remove func()) {
	GinkgoHelper()
	host, p := nodeHost(node), netip.MustParsePrefix(prefix)
	must(host.AddAddr(p))
	remove = sync.OnceFunc(func() { must(host.DelAddr(p)) })
	DeferCleanup(remove)
	return remove
}

// setAddresses reports other internal addresses of a node until the spec ends.
func setAddresses(ctx context.Context, name string, addresses ...string) {
	GinkgoHelper()
	update := func(ctx context.Context, change func(*corev1.Node)) {
		Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
			node, err := api().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(node)
			_, err = api().CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
			return err
		})).To(Succeed())
	}
	var before []corev1.NodeAddress
	update(ctx, func(n *corev1.Node) {
		before = n.Status.Addresses
		n.Status.Addresses = nil
		for _, a := range addresses {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
	})
	DeferCleanup(func(ctx SpecContext) { update(ctx, func(n *corev1.Node) { n.Status.Addresses = before }) })
}

// addNode adds a Node that no machine stands behind, until the spec ends. A
// finalizer keeps it while it is deleted.
func addNode(ctx context.Context, name string, node *corev1.Node) {
	GinkgoHelper()
	nodes := ours("nodes to change").Client().CoreV1().Nodes()
	const finalizer = "kube-vmap.io/e2e"
	node.Name, node.Finalizers = name, []string{finalizer}
	_, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) {
		must(nodes.Delete(ctx, name, metav1.DeleteOptions{}))
		must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
			node, err := nodes.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			node.Finalizers = nil
			_, err = nodes.Update(ctx, node, metav1.UpdateOptions{})
			return err
		}))
	})
}
