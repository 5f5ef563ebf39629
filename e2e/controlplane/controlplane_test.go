package controlplane_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// TestControlPlane goes through what the suite asks of a control plane, on one of
// them, because each takes seconds to start.
func TestControlPlane(t *testing.T) {
	cp := controlplane.ForTest(t, controlplane.Options{})
	client := cp.Client()

	service := createService(t, client)
	want := []string{"10.96.", "fd00:10:96::"}
	for i, ip := range service.Spec.ClusterIPs {
		if !strings.HasPrefix(ip, want[i]) {
			t.Errorf("ClusterIP %d is %s, want one that starts with %s", i, ip, want[i])
		}
	}
	createNode(t, client, "node-a")
	createNode(t, client, "node-b")
	createRunningPod(t, client, "a1", "node-a", "10.244.0.11", "fd00:10:244::11")
	createRunningPod(t, client, "b1", "node-b", "10.244.1.11", "fd00:10:244:1::11")
	waitForEndpoints(t, client, discoveryv1.AddressTypeIPv4, "10.244.0.11@node-a", "10.244.1.11@node-b")
	waitForEndpoints(t, client, discoveryv1.AddressTypeIPv6, "fd00:10:244:1::11@node-b", "fd00:10:244::11@node-a")

	t.Run("pod ends as a kubelet ends it", func(t *testing.T) { endPod(t, client) })
	t.Run("nodes stay without heartbeats", func(t *testing.T) { checkNodeUntainted(t, client) })
	t.Run("RBAC limits a service account", func(t *testing.T) { checkServiceAccount(t, cp) })
	t.Run("API server restarts", func(t *testing.T) { restartAPIServer(t, cp) })
	t.Run("nothing stays", func(t *testing.T) { stop(t, cp) })
}

// TestInNamespace is the control plane of a cluster of network namespaces.
func TestInNamespace(t *testing.T) {
	lab := testnet.ForTest(t, testnet.Topology{
		Clients: []testnet.Client{{Name: "control-plane", Addrs: testnet.Prefixes("192.0.2.5/24", "2001:db8:2::5/64")}},
	})
	cp := controlplane.ForTest(t, controlplane.Options{
		Address:   netip.MustParseAddr("192.0.2.5"),
		Namespace: lab.Host("control-plane").FD(),
	})
	slices, err := cp.Client().DiscoveryV1().EndpointSlices("default").List(t.Context(), metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=kubernetes",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 1 || slices.Items[0].Endpoints[0].Addresses[0] != "192.0.2.5" {
		t.Errorf("the endpoint slices of default/kubernetes are %+v, want one with 192.0.2.5", slices.Items)
	}
}

func TestMissingBinary(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Binaries: t.TempDir()})
	if err == nil {
		_ = cp.Stop()
		t.Fatal("start without binaries succeeded")
	}
	if !strings.Contains(err.Error(), "find etcd") {
		t.Errorf("start without binaries: %v, want an error that names etcd", err)
	}
}

func createService(t *testing.T, client kubernetes.Interface) *corev1.Service {
	t.Helper()
	policy := corev1.IPFamilyPolicyRequireDualStack
	service, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec: corev1.ServiceSpec{
			Selector:       map[string]string{"app": "echo"},
			IPFamilyPolicy: &policy,
			Ports:          []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func createNode(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	_, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// createRunningPod does what the scheduler and a kubelet do: bind, run, report.
func createRunningPod(t *testing.T, client kubernetes.Interface, name, node string, ips ...string) {
	t.Helper()
	pods := client.CoreV1().Pods("default")
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "echo"}},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Name: "echo", Image: "echo"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = ips[0]
	for _, ip := range ips {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitForEndpoints waits until the ready endpoints of the Service are as given,
// address@node, sorted.
func waitForEndpoints(t *testing.T, client kubernetes.Interface, family discoveryv1.AddressType, want ...string) {
	t.Helper()
	var got []string
	waitUntil(t, func() bool {
		list, err := client.DiscoveryV1().EndpointSlices("default").List(t.Context(), metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=echo",
		})
		if err != nil {
			t.Fatal(err)
		}
		got = readyEndpoints(list.Items, family)
		return slices.Equal(got, want)
	}, func() string { return fmt.Sprintf("ready %s endpoints are %v, want %v", family, got, want) })
}

func readyEndpoints(items []discoveryv1.EndpointSlice, family discoveryv1.AddressType) (ready []string) {
	for _, slice := range items {
		if slice.AddressType != family {
			continue
		}
		for _, e := range slice.Endpoints {
			if *e.Conditions.Ready {
				ready = append(ready, e.Addresses[0]+"@"+*e.NodeName)
			}
		}
	}
	slices.Sort(ready)
	return ready
}

// endPod deletes a pod: with grace it stays, terminating, until its kubelet
// deletes it for good.
func endPod(t *testing.T, client kubernetes.Interface) {
	pods := client.CoreV1().Pods("default")
	if err := pods.Delete(t.Context(), "b1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForEndpoints(t, client, discoveryv1.AddressTypeIPv4, "10.244.0.11@node-a")
	pod, err := pods.Get(t.Context(), "b1", metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp == nil {
		t.Fatalf("the pod that ends: %v, deletion at %v; want it to be there still", err, pod.DeletionTimestamp)
	}
	var now int64
	if err := pods.Delete(t.Context(), "b1", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if _, err = pods.Get(t.Context(), "b1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod that has ended: %v, want not found", err)
	}
}

func checkNodeUntainted(t *testing.T, client kubernetes.Interface) {
	node, err := client.CoreV1().Nodes().Get(t.Context(), "node-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(node.Spec.Taints) != 0 {
		t.Errorf("the node has taints %v, want none", node.Spec.Taints)
	}
}

func checkServiceAccount(t *testing.T, cp *controlplane.ControlPlane) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := cp.KubeconfigFor(t.Context(), path, "default", "default"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
	const who = `User "system:serviceaccount:default:default" cannot list resource "services"`
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), who) {
		t.Errorf("list Services without a role: %v, want forbidden: %s", err, who)
	}
}

func restartAPIServer(t *testing.T, cp *controlplane.ControlPlane) {
	server := cp.Server()
	if err := cp.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	services := cp.Client().CoreV1().Services("default")
	if _, err := services.Get(t.Context(), "echo", metav1.GetOptions{}); err == nil {
		t.Error("the stopped API server answers")
	}
	if err := cp.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cp.Server() != server {
		t.Errorf("the API server is at %s after its restart, was at %s", cp.Server(), server)
	}
	if _, err := services.Get(t.Context(), "echo", metav1.GetOptions{}); err != nil {
		t.Errorf("get a Service from before the restart: %v", err)
	}
	// The controllers find it again.
	createRunningPod(t, cp.Client(), "b2", "node-b", "10.244.1.12", "fd00:10:244:1::12")
	waitForEndpoints(t, cp.Client(), discoveryv1.AddressTypeIPv4, "10.244.0.11@node-a", "10.244.1.12@node-b")
}

func stop(t *testing.T, cp *controlplane.ControlPlane) {
	if n := len(children(t)); n != 3 {
		t.Errorf("%d child processes run before the stop, want 3", n)
	}
	if err := cp.Stop(); err != nil {
		t.Error(err)
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("child processes run after the stop: %v", left)
	}
}

// children lists the processes that this one has started and that run.
func children(t *testing.T) (pids []string) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("list threads: %v, %v", tasks, err)
	}
	for _, path := range tasks {
		content, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		pids = append(pids, strings.Fields(string(content))...)
	}
	return pids
}

func waitUntil(t *testing.T, done func() bool, state func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("after a minute: %s", state())
		}
	}
}
