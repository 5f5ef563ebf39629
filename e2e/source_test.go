package e2e

import (
	"context"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// prober is where connections come from.
type prober interface {
	Name() string
	Probe(p testnet.Protocol, to netip.AddrPort) testnet.Outcome
	ProbeWith(p testnet.Protocol, to netip.AddrPort, options testnet.ProbeOptions) testnet.Outcome
}

// Where connections come from: a pod on each node that is no endpoint, each
// node's own processes, and a machine outside, if there is one.
var (
	podA, podB   prober
	hostA, hostB prober
	client       prober
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
// everywhere adds the machine outside if there is one.
func pods() []prober   { return []prober{podA, podB} }
func hosts() []prober  { return []prober{hostA, hostB} }
func inside() []prober { return append(pods(), hosts()...) }

func everywhere() []prober {
	if client == nil {
		return inside()
	}
	return append(inside(), client)
}

// from lists sources. What needs one that is not there is left out.
func from(probers ...prober) []prober {
	for _, p := range probers {
		if p == nil {
			leaveOut("a client outside the cluster")
		}
	}
	return probers
}

// onHost is a source as a namespace of the suite's own cluster.
func onHost(p prober) *testnet.Host {
	GinkgoHelper()
	host, ok := p.(*testnet.Host)
	if !ok {
		leaveOut("the network namespace of a source")
	}
	return host
}

// ours is the suite's own cluster; what needs it for something that another one
// does not offer is left out there.
func ours(what string) *cluster.Cluster {
	GinkgoHelper()
	if lab == nil {
		leaveOut(what)
	}
	return lab
}

// nodeHost is the network of a node.
func nodeHost(name string) *testnet.Host {
	GinkgoHelper()
	return ours("the network namespaces of nodes").Node(name).Host
}

// leaveOut skips what the cluster of KUBECONFIG does not offer. Nothing is left
// out in the suite's own.
func leaveOut(what string) {
	GinkgoHelper()
	Expect(lab).To(BeNil(), "the suite's own cluster must offer %s", what)
	Skip("left out with " + envKubeconfig + ": needs " + what)
}
