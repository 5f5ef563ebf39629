package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/client-go/util/retry"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// foreignImage has the server and the clients of pods in a cluster that is not
// the suite's own: agnhost of Kubernetes' own tests. E2E_IMAGE names another copy.
const foreignImage = "registry.k8s.io/e2e-test-images/agnhost:2.56"

// foreign is a cluster that is not the suite's own.
type foreign struct {
	config *rest.Config
	client kubernetes.Interface
	image  string
}

// there is the cluster of KUBECONFIG, nil without one.
var there *foreign

// joinForeign takes the cluster of KUBECONFIG, and two of its nodes.
func joinForeign(ctx context.Context, kubeconfig string) {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred(), "%s", envKubeconfig)
	config.QPS, config.Burst, config.Timeout = 100, 200, 30*time.Second
	f := &foreign{config: config, image: foreignImage}
	if image := os.Getenv("E2E_IMAGE"); image != "" {
		f.image = image
	}
	f.client, err = kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	nodes, err := f.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	Expect(err).NotTo(HaveOccurred())
	names := schedulable(nodes.Items)
	Expect(len(names)).To(BeNumerically(">=", 2), "the suite needs two nodes that take pods")
	there, nodeA, nodeB = f, names[0], names[1]

	namespace, err := f.createNamespace(ctx, "sources")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) { must(f.deleteNamespace(ctx, namespace)) })
	run := func(name, node string, hostNetwork bool) prober {
		pod, err := f.runPod(ctx, cluster.PodSpec{
			Namespace: namespace, Name: name, Node: node, HostNetwork: hostNetwork, Ports: []cluster.Port{},
		})
		Expect(err).NotTo(HaveOccurred())
		return pod
	}
	podA, podB = run("source-a", nodeA, false), run("source-b", nodeB, false)
	hostA, hostB = run("host-a", nodeA, true), run("host-b", nodeB, true)
}

// schedulable are the names of ready nodes that take pods.
func schedulable(nodes []corev1.Node) (names []string) {
	for _, n := range nodes {
		ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if ready && !n.Spec.Unschedulable {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (f *foreign) createNamespace(ctx context.Context, prefix string) (string, error) {
	namespace, err := f.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-" + prefix + "-",
		// Pods on the network of their node are not for restricted namespaces.
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"},
	}}, metav1.CreateOptions{})
	return namespace.GetName(), err
}

// deleteNamespace does not give the pods the grace that they ask for, which is long.
func (f *foreign) deleteNamespace(ctx context.Context, name string) error {
	var now int64
	return errors.Join(
		f.client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
		f.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}))
}

// gate is the readiness gate by which SetReady makes a pod ready or not.
const gate corev1.PodConditionType = "kube-vmap.io/e2e"

// foreignPod is a pod of a cluster that is not the suite's own. Its probes are
// commands that run in it.
type foreignPod struct {
	foreign *foreign
	spec    cluster.PodSpec
	addrs   []netip.Addr
}

func (f *foreign) runPod(ctx context.Context, spec cluster.PodSpec) (*foreignPod, error) {
	p := &foreignPod{foreign: f, spec: spec}
	pods := f.client.CoreV1().Pods(spec.Namespace)
	if _, err := pods.Create(ctx, p.object(), metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("run pod %s: %w", spec.Name, err)
	}
	Eventually(func() (corev1.PodPhase, error) {
		pod, err := pods.Get(ctx, spec.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		p.addrs = nil
		for _, ip := range pod.Status.PodIPs {
			p.addrs = append(p.addrs, netip.MustParseAddr(ip.IP))
		}
		return pod.Status.Phase, nil
	}).WithContext(ctx).WithTimeout(3 * time.Minute).Should(Equal(corev1.PodRunning))
	return p, p.SetReady(ctx, !spec.Unready)
}

func (p *foreignPod) object() *corev1.Pod {
	noToken, grace := false, int64(600)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.spec.Namespace, Name: p.spec.Name, Labels: p.spec.Labels},
		Spec: corev1.PodSpec{
			NodeName:                      p.spec.Node,
			HostNetwork:                   p.spec.HostNetwork,
			AutomountServiceAccountToken:  &noToken,
			TerminationGracePeriodSeconds: &grace,
			ReadinessGates:                []corev1.PodReadinessGate{{ConditionType: gate}},
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:                    []corev1.Container{{Name: "source", Image: p.foreign.image, Args: []string{"pause"}}},
		},
	}
	ports := p.spec.Ports
	if ports == nil {
		ports = []cluster.Port{{Protocol: testnet.TCP, Number: 8080}}
	}
	for i, port := range ports {
		c := corev1.Container{
			Name: fmt.Sprintf("server-%d", i), Image: p.foreign.image,
			// What does not serve listens where nobody asks.
			Args:  []string{"netexec", "--delay-shutdown=600", fmt.Sprintf("--http-port=%d", port.Number), fmt.Sprintf("--udp-port=%d", 50000+i)},
			Ports: []corev1.ContainerPort{{Name: port.Name, Protocol: corev1.Protocol(strings.ToUpper(port.Protocol.String())), ContainerPort: int32(port.Number)}},
			ReadinessProbe: &corev1.Probe{
				PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(int32(port.Number))}},
			},
		}
		if port.Protocol == testnet.UDP {
			c.Args = []string{"netexec", "--delay-shutdown=600", fmt.Sprintf("--http-port=%d", 50000+i), fmt.Sprintf("--udp-port=%d", port.Number)}
			c.ReadinessProbe.HTTPGet.Port = intstr.FromInt32(int32(50000 + i))
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod
}

func (p *foreignPod) Name() string { return p.spec.Name }

// Addr is the pod's address of a family.
func (p *foreignPod) Addr(f testnet.Family) netip.Addr {
	for _, a := range p.addrs {
		if a.Is4() == (f == testnet.IPv4) {
			return a
		}
	}
	return netip.Addr{}
}

// SetReady opens or closes the pod's readiness gate.
func (p *foreignPod) SetReady(ctx context.Context, ready bool) error {
	pods := p.foreign.client.CoreV1().Pods(p.spec.Namespace)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := pods.Get(ctx, p.spec.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		condition := corev1.PodCondition{Type: gate, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
		if ready {
			condition.Status = corev1.ConditionTrue
		}
		pod.Status.Conditions = append(slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == gate }), condition)
		_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

// Terminate deletes the pod with grace: it goes on serving.
func (p *foreignPod) Terminate(ctx context.Context) error {
	return p.foreign.client.CoreV1().Pods(p.spec.Namespace).Delete(ctx, p.spec.Name, metav1.DeleteOptions{})
}

// Remove ends the pod for good.
func (p *foreignPod) Remove(ctx context.Context) error {
	var now int64
	return p.foreign.client.CoreV1().Pods(p.spec.Namespace).Delete(ctx, p.spec.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

// Probe is ProbeWith without options.
func (p *foreignPod) Probe(protocol testnet.Protocol, to netip.AddrPort) testnet.Outcome {
	return p.ProbeWith(protocol, to, testnet.ProbeOptions{})
}

// ProbeWith connects by a command in the pod, and asks for the server's name and
// the client's address as the server saw it over one connection.
func (p *foreignPod) ProbeWith(protocol testnet.Protocol, to netip.AddrPort, options testnet.ProbeOptions) testnet.Outcome {
	timeout := options.Timeout
	if timeout == 0 {
		timeout = testnet.DefaultTimeout
	}
	seconds, from := fmt.Sprintf("%.1f", timeout.Seconds()), ""
	if port := options.Source.Port(); port != 0 {
		from = map[testnet.Protocol]string{testnet.TCP: "--local-port", testnet.UDP: "-p"}[protocol] + fmt.Sprintf(" %d", port)
	}
	outcome := testnet.Outcome{Source: netip.AddrPortFrom(p.Addr(familyOf(to)), 0)}
	var command string
	switch protocol {
	case testnet.TCP:
		command = fmt.Sprintf(`curl -g -s --max-time %s %s -w '\n' http://%s/hostname http://%s/clientip`, seconds, from, to, to)
	case testnet.UDP:
		command = fmt.Sprintf(`printf 'hostname\n' | timeout %s nc -u -w 1 %s %s %d`, seconds, from, to.Addr(), to.Port())
	default:
		outcome.Kind, outcome.Err = testnet.Broken, errors.New("no client of the protocol")
		return outcome
	}
	out, code, err := p.run(command)
	lines := strings.Fields(out)
	switch {
	case len(lines) > 0:
		outcome.Kind, outcome.Server = testnet.Answered, lines[0]
		if len(lines) > 1 {
			outcome.Client, _ = netip.ParseAddrPort(lines[1])
			outcome.Client = netip.AddrPortFrom(outcome.Client.Addr(), 0)
		}
	case err != nil:
		outcome.Kind, outcome.Err = testnet.Broken, err
	case protocol == testnet.TCP && code == 7: // curl: failed to connect
		outcome.Kind = testnet.Refused
	default:
		outcome.Kind = testnet.Silent
	}
	return outcome
}

func familyOf(to netip.AddrPort) testnet.Family {
	if to.Addr().Is4() {
		return testnet.IPv4
	}
	return testnet.IPv6
}

// run runs a shell command in the pod and returns its output and exit status.
func (p *foreignPod) run(command string) (out string, status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request := p.foreign.client.CoreV1().RESTClient().Post().Resource("pods").
		Namespace(p.spec.Namespace).Name(p.spec.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: "source", Command: []string{"sh", "-c", command}, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(p.foreign.config, "GET", request.URL().String())
	if err != nil {
		return "", 0, err
	}
	var stdout bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: io.Discard})
	var ended exec.CodeExitError
	if errors.As(err, &ended) {
		return stdout.String(), ended.Code, nil
	}
	return stdout.String(), 0, err
}
