package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// onPort is a Service port of a protocol, to 8080.
func onPort(name string, p corev1.Protocol, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: p, Port: port, TargetPort: intstr.FromInt32(8080)}
}

var _ = Describe("SCTP", Label("sctp"), func() {
	w := newWorld("sctp")
	serving := []cluster.Port{{Protocol: testnet.SCTP, Number: 8080}}

	BeforeEach(func(ctx SpecContext) {
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-1", Node: nodeA, Ports: serving})
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-2", Node: nodeB, Ports: serving})
	})

	It("is balanced at the cluster IP", func(ctx SpecContext) {
		service := w.service(ctx, "web", corev1.ServiceSpec{Ports: []corev1.ServicePort{onPort("", corev1.ProtocolSCTP, 80)}})
		expect(ctx, inside(), testnet.SCTP, clusterIPs(service), answeredBy("web-1", "web-2"))
	})

	It("is balanced at node ports and load balancers", func(ctx SpecContext) {
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{onPort("", corev1.ProtocolSCTP, 80)},
		})
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		expect(ctx, everywhere(), testnet.SCTP, nodePorts(service, nodeA, nodeB), answeredBy("web-1", "web-2"))
		expect(ctx, everywhere(), testnet.SCTP, at(addrs, 80), answeredBy("web-1", "web-2"))
	})

	It("obeys the traffic policies", func(ctx SpecContext) {
		local := corev1.ServiceInternalTrafficPolicyLocal
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeNodePort,
			InternalTrafficPolicy: &local, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			Ports: []corev1.ServicePort{onPort("", corev1.ProtocolSCTP, 80)},
		})
		expect(ctx, from(podA, hostA), testnet.SCTP, clusterIPs(service), answeredBy("web-1"))
		expect(ctx, from(client), testnet.SCTP, nodePorts(service, nodeB), answeredBy("web-2").withOwnSource())
	})
})

var _ = Describe("UDP", Label("udp"), func() {
	w := newWorld("udp")

	It("is balanced everywhere", func(ctx SpecContext) {
		serving := []cluster.Port{{Protocol: testnet.UDP, Number: 8080}}
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-1", Node: nodeA, Ports: serving})
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-2", Node: nodeB, Ports: serving})
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{onPort("", corev1.ProtocolUDP, 80)},
		})
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), answeredBy("web-1", "web-2"))
		expect(ctx, everywhere(), testnet.UDP, nodePorts(service, nodeA, nodeB), answeredBy("web-1", "web-2"))
	})

	It("and TCP with the same number are two ports", func(ctx SpecContext) {
		w.pod(ctx, "", cluster.PodSpec{Name: "dns", Node: nodeA, Labels: map[string]string{"app": "dns"}, Ports: []cluster.Port{
			{Name: "tcp", Protocol: testnet.TCP, Number: 8080}, {Name: "udp", Protocol: testnet.UDP, Number: 8053},
		}})
		service := w.service(ctx, "dns", corev1.ServiceSpec{Ports: []corev1.ServicePort{
			onPort("tcp", corev1.ProtocolTCP, 53),
			{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromString("udp")},
		}})
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("dns"))
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), answeredBy("dns"))
		w.change(ctx, service, func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:1] })
		expect(ctx, inside(), testnet.UDP, clusterIPs(service), refused)
		expect(ctx, inside(), testnet.TCP, clusterIPs(service), answeredBy("dns"))
	})
})
