package e2e

import (
	"context"

	. "github.com/onsi/gomega"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Where connections come from: a pod on each node that is no endpoint, each
// node's own processes, and a machine outside.
var (
	podA, podB   *testnet.Host
	hostA, hostB *testnet.Host
	client       *testnet.Host
)

// runSources makes the pods that only connect.
func runSources(ctx context.Context) {
	namespace, err := lab.CreateNamespace(ctx, "sources")
	Expect(err).NotTo(HaveOccurred())
	run := func(name, node string) *testnet.Host {
		pod, err := lab.RunPod(ctx, cluster.PodSpec{Namespace: namespace, Name: name, Node: node, Ports: []cluster.Port{}})
		Expect(err).NotTo(HaveOccurred())
		return pod.Host
	}
	podA, podB = run("source-a", nodeA), run("source-b", nodeB)
	hostA, hostB = lab.Node(nodeA).Host, lab.Node(nodeB).Host
	client = lab.Lab.Host("client")
}

// pods are those on both nodes, hosts the nodes themselves, inside both, and
// everywhere adds the machine outside.
func pods() []*testnet.Host       { return []*testnet.Host{podA, podB} }
func hosts() []*testnet.Host      { return []*testnet.Host{hostA, hostB} }
func inside() []*testnet.Host     { return append(pods(), hosts()...) }
func everywhere() []*testnet.Host { return append(inside(), client) }

func from(hosts ...*testnet.Host) []*testnet.Host { return hosts }
