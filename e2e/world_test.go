package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// world is what a spec has to itself: a namespace, and what it puts there. All of
// it goes when the spec ends.
type world struct {
	namespace string
}

// newWorld makes each spec of the container a world of its own.
func newWorld(prefix string) *world {
	w := &world{}
	BeforeEach(func(ctx SpecContext) {
		var err error
		create, remove := createNamespace()
		w.namespace, err = create(ctx, prefix)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) { Expect(remove(ctx, w.namespace)).To(Succeed()) })
	})
	return w
}

// createNamespace are the functions that make namespaces and remove them.
func createNamespace() (create func(context.Context, string) (string, error), remove func(context.Context, string) error) {
	if lab == nil {
		return there.createNamespace, there.deleteNamespace
	}
	return lab.CreateNamespace, lab.DeleteNamespace
}

// api is a client with all rights.
func api() kubernetes.Interface {
	if lab == nil {
		return there.client
	}
	return lab.Client()
}

// pod is a running pod, of the suite's own cluster or another one.
type pod interface {
	Name() string
	Addr(f testnet.Family) netip.Addr
	SetReady(ctx context.Context, ready bool) error
	Terminate(ctx context.Context) error
	Remove(ctx context.Context) error
}

// inPod is a pod as a source of connections.
func inPod(p pod) prober {
	if ours, ok := p.(*cluster.Pod); ok {
		return ours.Host
	}
	return p.(*foreignPod)
}

// pod runs a pod. It is an endpoint of the Service app unless app is empty.
func (w *world) pod(ctx context.Context, app string, spec cluster.PodSpec) pod {
	GinkgoHelper()
	spec.Namespace = w.namespace
	if app != "" && spec.Labels == nil {
		spec.Labels = map[string]string{"app": app}
	}
	if lab == nil {
		return w.foreignPod(ctx, spec)
	}
	p, err := lab.RunPod(ctx, spec)
	Expect(err).NotTo(HaveOccurred())
	return p
}

// foreignPod runs a pod in a cluster that is not the suite's own, if it can be
// made there.
func (w *world) foreignPod(ctx context.Context, spec cluster.PodSpec) pod {
	GinkgoHelper()
	if spec.HostNetwork {
		leaveOut("servers on the network of nodes")
	}
	for _, port := range spec.Ports {
		if port.Protocol == testnet.SCTP {
			leaveOut("servers of SCTP")
		}
	}
	p, err := there.runPod(ctx, spec)
	Expect(err).NotTo(HaveOccurred())
	return p
}

// backends runs a pod of the app on each of the nodes, named app-1, app-2 ...
func (w *world) backends(ctx context.Context, app string, nodes ...string) (pods []pod) {
	GinkgoHelper()
	for i, node := range nodes {
		pods = append(pods, w.pod(ctx, app, cluster.PodSpec{Name: fmt.Sprintf("%s-%d", app, i+1), Node: node}))
	}
	return pods
}

// service creates a Service. Where the spec is silent it is dual stack, selects
// the pods of its own name, and has one port, 80 to 8080.
func (w *world) service(ctx context.Context, name string, spec corev1.ServiceSpec) *corev1.Service {
	GinkgoHelper()
	if spec.Ports == nil {
		spec.Ports = []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}
	}
	if spec.IPFamilyPolicy == nil && spec.Type != corev1.ServiceTypeExternalName {
		policy := corev1.IPFamilyPolicyRequireDualStack
		if lab == nil {
			policy = corev1.IPFamilyPolicyPreferDualStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if spec.Selector == nil {
		spec.Selector = map[string]string{"app": name}
	}
	service, err := w.services().Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	return service
}

func (w *world) services() typedcorev1.ServiceInterface { return api().CoreV1().Services(w.namespace) }

// change updates a Service and returns it as it is then.
func (w *world) change(ctx context.Context, service *corev1.Service, change func(*corev1.Service)) (changed *corev1.Service) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() (err error) {
		changed, err = w.services().Get(ctx, service.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(changed)
		changed, err = w.services().Update(ctx, changed, metav1.UpdateOptions{})
		return err
	})).To(Succeed())
	return changed
}

// setIngress writes a Service's load-balancer status, as a cloud controller does.
func (w *world) setIngress(ctx context.Context, service *corev1.Service, ingress ...corev1.LoadBalancerIngress) *corev1.Service {
	GinkgoHelper()
	var updated *corev1.Service
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := w.services().Get(ctx, service.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Status.LoadBalancer.Ingress = ingress
		updated, err = w.services().UpdateStatus(ctx, current, metav1.UpdateOptions{})
		return err
	})).To(Succeed())
	return updated
}

func (w *world) delete(ctx context.Context, service *corev1.Service) {
	GinkgoHelper()
	Expect(w.services().Delete(ctx, service.Name, metav1.DeleteOptions{})).To(Succeed())
}

// slice creates an EndpointSlice by hand, for a Service without selector.
func (w *world) slice(ctx context.Context, slice *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	GinkgoHelper()
	created, err := api().DiscoveryV1().EndpointSlices(w.namespace).Create(ctx, slice, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	return created
}

// vipNumber numbers the addresses that vips hands out.
var vipNumber atomic.Int32

// vips are fresh addresses, one per family, that the outside routes to a node.
func vips(node string) (addrs []netip.Addr) {
	GinkgoHelper()
	n := vipNumber.Add(1)
	for _, a := range []string{fmt.Sprintf("203.0.%d.%d", 114+n/256, n%256), fmt.Sprintf("2001:db8:113::%x", n)} {
		addr := netip.MustParseAddr(a)
		route(netip.PrefixFrom(addr, addr.BitLen()), node)
		addrs = append(addrs, addr)
	}
	return addrs
}

// route makes the outside reach a prefix through a node until the spec ends.
func route(prefix netip.Prefix, node string) {
	GinkgoHelper()
	lab := ours("routes from outside to addresses of a test")
	Expect(lab.Lab.Route(prefix, lab.Node(node).Host)).To(Succeed())
	DeferCleanup(func() { Expect(lab.Lab.Unroute(prefix)).To(Succeed()) })
}

// ingressOf makes load-balancer ingress of addresses.
func ingressOf(addrs ...netip.Addr) (ingress []corev1.LoadBalancerIngress) {
	for _, a := range addrs {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	return ingress
}

func textsOf(addrs []netip.Addr) (texts []string) {
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return texts
}

// at are addresses with a port.
func at(addrs []netip.Addr, port int32) (to []netip.AddrPort) {
	for _, a := range addrs {
		to = append(to, netip.AddrPortFrom(a, uint16(port)))
	}
	return to
}

// clusterIPs are a Service's, with its first port.
func clusterIPs(service *corev1.Service) []netip.AddrPort {
	return clusterIPsAt(service, service.Spec.Ports[0].Port)
}

func clusterIPsAt(service *corev1.Service, port int32) (to []netip.AddrPort) {
	for _, ip := range service.Spec.ClusterIPs {
		to = append(to, netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)))
	}
	return to
}

// nodeAddrs are the internal addresses of a node.
func nodeAddrs(name string) (addrs []netip.Addr) {
	GinkgoHelper()
	if lab != nil {
		return lab.Node(name).Host.Addrs()
	}
	node, err := there.client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			addrs = append(addrs, netip.MustParseAddr(a.Address))
		}
	}
	return addrs
}

// nodePorts are the addresses of a node with the node port of a Service's first port.
func nodePorts(service *corev1.Service, nodes ...string) (to []netip.AddrPort) {
	for _, node := range nodes {
		to = append(to, at(nodeAddrs(node), service.Spec.Ports[0].NodePort)...)
	}
	return to
}

// ofFamily are the destinations of a family.
func ofFamily(f testnet.Family, to []netip.AddrPort) (of []netip.AddrPort) {
	for _, a := range to {
		if a.Addr().Is4() == (f == testnet.IPv4) {
			of = append(of, a)
		}
	}
	return of
}

// textToAddrs parses addresses.
func textToAddrs(texts ...string) (addrs []netip.Addr) {
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}
