package cluster_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// TestKubeProxy holds the cluster to the reference: what the suite's pods,
// Services and probes do is what they do under kube-proxy.
func TestKubeProxy(t *testing.T) { testAgent(t, cluster.KubeProxy()) }

func testAgent(t *testing.T, agent *cluster.Agent) {
	c := cluster.ForTest(t, cluster.Options{Agent: agent})
	namespace, err := c.CreateNamespace(t.Context(), "cluster")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "echo"}
	run := func(name, node string, labels map[string]string) *cluster.Pod {
		t.Helper()
		pod, err := c.RunPod(t.Context(), cluster.PodSpec{Namespace: namespace, Name: name, Node: node, Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	a, b := run("a", "node-a", labels), run("b", "node-b", labels)
	source := run("source", "node-a", nil)
	frontends := createService(t, c, namespace, labels)

	for _, from := range []*testnet.Host{source.Host, a.Host, b.Host, c.Node("node-a").Host, c.Node("node-b").Host} {
		for _, to := range frontends {
			waitForServers(t, from, to, "a", "b")
		}
	}
	t.Run("unready pod", func(t *testing.T) {
		check(t, a.SetReady(t.Context(), false))
		waitForServers(t, source.Host, frontends[0], "b")
		check(t, a.SetReady(t.Context(), true))
		waitForServers(t, source.Host, frontends[0], "a", "b")
	})
	t.Run("terminating pod", func(t *testing.T) {
		check(t, b.Terminate(t.Context()))
		waitForServers(t, source.Host, frontends[1], "a")
		check(t, b.Remove(t.Context()))
		waitForServers(t, source.Host, frontends[1], "a")
	})
	t.Run("pod in the node's network", func(t *testing.T) {
		host, err := c.RunPod(t.Context(), cluster.PodSpec{
			Namespace: namespace, Name: "host", Node: "node-b", Labels: labels, HostNetwork: true,
		})
		check(t, err)
		waitForServers(t, source.Host, frontends[1], "a", "host")
		check(t, host.Remove(t.Context()))
		waitForServers(t, source.Host, frontends[1], "a")
	})
	t.Run("state is kept", func(t *testing.T) {
		dir := t.TempDir()
		check(t, c.Keep(t.Context(), dir))
		for file, want := range map[string]string{
			"services.yaml":       "name: echo",
			"endpointslices.yaml": "addressType: IPv6",
			"node-a-ruleset.nft":  "chain",
			"node-b-conntrack":    "tcp",
			"logs/node-a.log":     "",
		} {
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q (%v):\n%s", file, want, err, text)
			}
		}
	})
	t.Run("restarts", func(t *testing.T) {
		node := c.Node("node-a")
		check(t, node.StopAgent())
		waitForServers(t, source.Host, frontends[0], "a")
		check(t, c.ControlPlane.StopAPIServer())
		check(t, c.ControlPlane.StartAPIServer(t.Context()))
		check(t, node.StartAgent(t.Context(), agent))
		run("b2", "node-b", labels)
		waitForServers(t, source.Host, frontends[0], "a", "b2")
	})
	t.Run("namespace goes", func(t *testing.T) {
		check(t, c.DeleteNamespace(t.Context(), namespace))
		waitFor(t, func() bool { return c.Node("node-a").Host.Probe(testnet.TCP, frontends[0]).Kind != testnet.Answered },
			func() string { return "the Service still answers" })
	})
}

// createService makes a dual-stack Service and returns its frontends.
func createService(t *testing.T, c *cluster.Cluster, namespace string, selector map[string]string) (frontends []netip.AddrPort) {
	t.Helper()
	policy := corev1.IPFamilyPolicyRequireDualStack
	service, err := c.Client().CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec: corev1.ServiceSpec{
			Selector:       selector,
			IPFamilyPolicy: &policy,
			Ports:          []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	check(t, err)
	for _, ip := range service.Spec.ClusterIPs {
		frontends = append(frontends, netip.AddrPortFrom(netip.MustParseAddr(ip), 80))
	}
	return frontends
}

// waitForServers waits until exactly the given servers answer a number of probes
// that misses one of two servers once in a million times.
func waitForServers(t *testing.T, from *testnet.Host, to netip.AddrPort, want ...string) {
	t.Helper()
	var got testnet.Distribution
	waitFor(t, func() bool {
		got = from.Distribution(testnet.TCP, to, 20)
		return len(got.Failed) == 0 && slices.Equal(slices.Sorted(maps.Keys(got.Servers)), want)
	}, func() string { return from.Name() + " to " + to.String() + ": " + got.First.String() })
}

func waitFor(t *testing.T, done func() bool, state func() string) {
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

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
