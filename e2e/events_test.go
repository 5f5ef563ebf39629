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

// eventsOn are the events on an object, a line each: type, reason, message.
func eventsOn(ctx context.Context, namespace, kind, name string) func() ([]string, error) {
	return func() (lines []string, err error) {
		list, err := api().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
			FieldSelector: fmt.Sprintf("involvedObject.kind=%s,involvedObject.name=%s", kind, name),
		})
		if err != nil {
			return nil, err
		}
		for _, e := range list.Items {
			lines = append(lines, e.Type+" "+e.Reason+" "+e.Message)
		}
		return lines, nil
	}
}

var _ = Describe("Conflicts", Label("conflicts", "events"), func() {
	w := newWorld("conflicts")

	It("are won by the older Service, told to the younger one, which takes over", Label(better), func(ctx SpecContext) {
		w.backends(ctx, "old", nodeA)
		w.backends(ctx, "young", nodeA)
		addrs := vips(nodeA)
		old := w.service(ctx, "old", corev1.ServiceSpec{ExternalIPs: textsOf(addrs)})
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("old-1"))
		nextSecond(ctx, old)
		w.service(ctx, "young", corev1.ServiceSpec{ExternalIPs: textsOf(addrs)})
		Eventually(eventsOn(ctx, w.namespace, "Service", "young")).WithContext(ctx).Should(ContainElement(And(
			HavePrefix("Warning FrontendConflict"), ContainSubstring(addrs[0].String()), ContainSubstring(w.namespace+"/old"))))
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("old-1"))
		Expect(eventsOn(ctx, w.namespace, "Service", "old")()).NotTo(ContainElement(ContainSubstring("FrontendConflict")))
		w.delete(ctx, old)
		expect(ctx, everywhere(), testnet.TCP, at(addrs, 80), answeredBy("young-1"))
	})
})

// nextSecond waits until the API gives out later creation timestamps than that of
// an object; they have the precision of a second.
func nextSecond(ctx context.Context, object metav1.Object) {
	Eventually(func() (bool, error) {
		probe, err := api().CoreV1().ConfigMaps(object.GetNamespace()).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "clock-"},
		}, metav1.CreateOptions{})
		return err == nil && probe.CreationTimestamp.After(object.GetCreationTimestamp().Time), err
	}).WithContext(ctx).Should(BeTrue())
}

var _ = Describe("Events", Label("events"), func() {
	w := newWorld("events")

	It("tell of the agent's start, on its node", Label(better), func(ctx SpecContext) {
		Eventually(eventsOn(ctx, metav1.NamespaceDefault, "Node", nodeA)).WithContext(ctx).Should(ContainElement(HavePrefix("Normal Started")))
	})

	It("tell of a health-check node port that is taken", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		port := service.Spec.HealthCheckNodePort
		url := "http://" + at(nodeHost(nodeA).Addrs()[:1], port)[0].String()
		Eventually(asking(ctx, client, url)).WithContext(ctx).Should(Equal(200))
		w.delete(ctx, service)
		Eventually(func() error { _, err := get(ctx, client, url); return err }).WithContext(ctx).ShouldNot(Succeed())
		taken, err := nodeHost(nodeA).Serve(testnet.TCP, uint16(port))
		must(err)
		DeferCleanup(taken.Close)
		w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: port,
		})
		Eventually(eventsOn(ctx, w.namespace, "Service", "web")).WithContext(ctx).
			Should(ContainElement(HavePrefix("Warning FailedToStartServiceHealthcheck")))
	})
})
