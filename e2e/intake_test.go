package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// serviceProxyName is the label that gives a Service to another proxy.
const serviceProxyName = "service.kubernetes.io/service-proxy-name"

var _ = Describe("Headless and ExternalName changes", Label("headless"), func() {
	w := newWorld("headless")

	It("a Service that becomes ExternalName loses its frontends, and gets them back", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		before := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, before, answeredBy("web-1", "web-2"))
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example.net", Ports: s.Spec.Ports}
		})
		expect(ctx, pods(), testnet.TCP, before, silent)
		service = w.change(ctx, service, func(s *corev1.Service) {
			dual := corev1.IPFamilyPolicyRequireDualStack
			s.Spec = corev1.ServiceSpec{
				Type: corev1.ServiceTypeClusterIP, Selector: map[string]string{"app": "web"},
				Ports: s.Spec.Ports, IPFamilyPolicy: &dual,
			}
		})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
	})

	It("a Service that becomes headless loses its frontends", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		before := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, before, answeredBy("web-1", "web-2"))
		// The API lets an ExternalName become headless, but not a cluster IP go.
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example.net", Ports: s.Spec.Ports}
		})
		w.change(ctx, service, func(s *corev1.Service) {
			s.Spec = corev1.ServiceSpec{
				Type: corev1.ServiceTypeClusterIP, ClusterIP: corev1.ClusterIPNone,
				Selector: map[string]string{"app": "web"}, Ports: s.Spec.Ports,
			}
		})
		expect(ctx, pods(), testnet.TCP, before, silent)
	})

	It("a Service may return with another cluster IP under its old name", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		first := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, inside(), testnet.TCP, clusterIPs(first), answeredBy("web-1"))
		w.delete(ctx, first)
		second := w.service(ctx, "web", corev1.ServiceSpec{})
		Expect(second.Spec.ClusterIP).NotTo(Equal(first.Spec.ClusterIP))
		expect(ctx, inside(), testnet.TCP, clusterIPs(second), answeredBy("web-1"))
		expect(ctx, pods(), testnet.TCP, clusterIPs(first), silent)
	})

	It("slices of headless Services are left alone", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		w.service(ctx, "peers", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": "web"}})
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
	})
})

var _ = Describe("Service proxy name", Label("serviceproxyname"), func() {
	w := newWorld("proxyname")

	It("gives a Service to another proxy, and takes it back, live", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		to := clusterIPs(service)
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
		w.change(ctx, service, func(s *corev1.Service) { metav1.SetMetaDataLabel(&s.ObjectMeta, serviceProxyName, "other") })
		expect(ctx, pods(), testnet.TCP, to, silent)
		w.change(ctx, service, func(s *corev1.Service) { delete(s.Labels, serviceProxyName) })
		expect(ctx, inside(), testnet.TCP, to, answeredBy("web-1", "web-2"))
	})
})
