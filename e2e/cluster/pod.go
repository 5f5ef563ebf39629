package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Port is a port that a pod serves on all its addresses.
type Port struct {
	Name     string // what a Service's targetPort may say; may be empty
	Protocol testnet.Protocol
	Number   uint16
}

// PodSpec describes a pod.
type PodSpec struct {
	Namespace, Name string
	Node            string
	Labels          map[string]string
	Ports           []Port // TCP 8080 if nil; empty for a pod that serves nothing
	HostNetwork     bool   // the pod has the network of its node
	Unready         bool   // its readiness probe fails from the start
}

// Pod is a running pod.
type Pod struct {
	// Host is the pod's network: its probes are processes of the pod.
	Host *testnet.Host

	cluster *Cluster
	node    *Node
	spec    PodSpec
	addrs   []netip.Addr
	servers []*testnet.Server
}

// RunPod makes a pod, and returns when its servers listen and its Pod object says
// that it runs.
func (c *Cluster) RunPod(ctx context.Context, spec PodSpec) (*Pod, error) {
	if spec.Ports == nil {
		spec.Ports = []Port{{Protocol: testnet.TCP, Number: 8080}}
	}
	p := &Pod{cluster: c, node: c.Node(spec.Node), spec: spec}
	if err := p.run(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("run pod %s: %w", p.hostName(), err), p.shutDown())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[p.hostName()] = p
	return p, nil
}

func (p *Pod) run(ctx context.Context) error {
	if err := p.plugIn(); err != nil {
		return err
	}
	if err := p.serve(); err != nil {
		return err
	}
	pods := p.cluster.Client().CoreV1().Pods(p.spec.Namespace)
	if _, err := pods.Create(ctx, p.object(), metav1.CreateOptions{}); err != nil {
		return err
	}
	return p.SetReady(ctx, !p.spec.Unready)
}

// plugIn gives the pod its network.
func (p *Pod) plugIn() (err error) {
	if p.spec.HostNetwork {
		p.Host, p.addrs = p.node.Host, p.node.Host.Addrs()
		return nil
	}
	if p.addrs, err = p.node.pool.take(); err != nil {
		return err
	}
	p.Host, err = p.cluster.Lab.AddPod(p.node.Name, testnet.Pod{Name: p.hostName(), Addrs: p.addrs})
	return err
}

func (p *Pod) serve() error {
	for _, port := range p.spec.Ports {
		var at []netip.AddrPort
		for _, a := range p.addrs {
			at = append(at, netip.AddrPortFrom(a, port.Number))
		}
		server, err := p.Host.ServeAs(p.spec.Name, port.Protocol, at...)
		if err != nil {
			return err
		}
		p.servers = append(p.servers, server)
	}
	return nil
}

// hostName is the pod's name in the laboratory.
func (p *Pod) hostName() string { return p.spec.Namespace + "/" + p.spec.Name }

// Name is the pod's name, and that of its servers.
func (p *Pod) Name() string { return p.spec.Name }

// Addr is the pod's address of a family.
func (p *Pod) Addr(f testnet.Family) netip.Addr {
	for _, a := range p.addrs {
		if a.Is4() == (f == testnet.IPv4) {
			return a
		}
	}
	return netip.Addr{}
}

func (p *Pod) object() *corev1.Pod {
	noToken := false
	container := corev1.Container{Name: "server", Image: "server"}
	for _, port := range p.spec.Ports {
		container.Ports = append(container.Ports, corev1.ContainerPort{
			Name:          port.Name,
			Protocol:      corev1.Protocol(strings.ToUpper(port.Protocol.String())),
			ContainerPort: int32(port.Number),
		})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.spec.Namespace, Name: p.spec.Name, Labels: p.spec.Labels},
		Spec: corev1.PodSpec{
			NodeName:                     p.spec.Node,
			HostNetwork:                  p.spec.HostNetwork,
			AutomountServiceAccountToken: &noToken,
			Containers:                   []corev1.Container{container},
		},
	}
}

// SetReady reports the pod as running and as ready or not, as its kubelet does.
func (p *Pod) SetReady(ctx context.Context, ready bool) error {
	pods := p.cluster.Client().CoreV1().Pods(p.spec.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod, err := pods.Get(ctx, p.spec.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Status = p.status(ready)
		_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("report pod %s as ready=%t: %w", p.hostName(), ready, err)
	}
	return nil
}

func (p *Pod) status(ready bool) corev1.PodStatus {
	condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(time.Now())}
	if ready {
		condition.Status = corev1.ConditionTrue
	}
	status := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{condition}}
	for _, a := range p.node.Host.Addrs() {
		status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: a.String()})
	}
	for _, a := range p.addrs {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	status.HostIP, status.PodIP = status.HostIPs[0].IP, status.PodIPs[0].IP
	return status
}

// Terminate deletes the pod with grace: its endpoints are terminating, and it
// goes on serving until Remove.
func (p *Pod) Terminate(ctx context.Context) error {
	return p.delete(ctx, metav1.DeleteOptions{})
}

// Remove ends the pod for good.
func (p *Pod) Remove(ctx context.Context) error {
	var now int64
	err := p.delete(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now})
	p.cluster.mu.Lock()
	delete(p.cluster.pods, p.hostName())
	p.cluster.mu.Unlock()
	return errors.Join(err, p.shutDown())
}

func (p *Pod) delete(ctx context.Context, options metav1.DeleteOptions) error {
	err := p.cluster.Client().CoreV1().Pods(p.spec.Namespace).Delete(ctx, p.spec.Name, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete pod %s: %w", p.hostName(), err)
	}
	return nil
}

// shutDown ends the pod's servers and takes its network away.
func (p *Pod) shutDown() error {
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.Close())
	}
	if p.spec.HostNetwork || p.Host == nil {
		return errors.Join(errs...)
	}
	errs = append(errs, p.Host.Close())
	p.node.pool.release(p.addrs)
	return errors.Join(errs...)
}
