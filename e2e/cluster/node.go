package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Node is a machine of the cluster: a namespace, a Node object and an agent.
type Node struct {
	Name string
	// Host is the node's own network: its probes are local processes of the node.
	Host *testnet.Host

	cluster *Cluster
	pool    *addressPool
	agent   *testnet.Process // nil if none was started
	ready   string           // path of the agent's readiness probe
}

// addNode registers a node of the laboratory, as its kubelet would.
func (c *Cluster) addNode(ctx context.Context, n testnet.Node) error {
	object := nodeObject(n)
	if _, err := c.Client().CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node %s: %w", n.Name, err)
	}
	c.nodes = append(c.nodes, &Node{
		Name:    n.Name,
		Host:    c.Lab.Host(n.Name),
		cluster: c,
		pool:    newAddressPool(n.PodCIDRs),
	})
	return nil
}

func nodeObject(n testnet.Node) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name,
			Labels: map[string]string{
				corev1.LabelHostname:     n.Name,
				corev1.LabelTopologyZone: zones[n.Name],
			},
		},
		Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Name}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			// The endpoint-slice controller weighs zones by their CPUs.
			Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")},
		},
	}
	for _, addr := range n.Addrs {
		node.Status.Addresses = append(node.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.Addr().String()})
	}
	for _, cidr := range n.PodCIDRs {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, cidr.String())
	}
	node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	return node
}

// StartAgents starts the agents of all nodes side by side, and returns when they
// work.
func (c *Cluster) StartAgents(ctx context.Context, agent *Agent) error {
	for _, n := range c.nodes {
		if err := n.Launch(ctx, agent); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.WaitForAgent(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartAgent starts an agent and returns when it works. There must be none.
func (n *Node) StartAgent(ctx context.Context, agent *Agent) error {
	if err := n.Launch(ctx, agent); err != nil {
		return err
	}
	return n.WaitForAgent(ctx)
}

// Launch starts an agent and does not wait until it works. There must be none.
func (n *Node) Launch(ctx context.Context, agent *Agent) error {
	if n.agent != nil {
		return fmt.Errorf("start %s on %s: an agent runs: stop it first", agent.Name, n.Name)
	}
	cmd, err := n.command(ctx, agent)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", n.Name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	n.agent, err = n.Host.Start(cmd)
	n.ready = agent.ready
	return err
}

// startTimeout bounds the wait for an agent. It starts within a second.
const startTimeout = time.Minute

// WaitForAgent waits until the agent that was launched last works, or has ended.
func (n *Node) WaitForAgent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := n.works(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-n.agent.Done():
			return fmt.Errorf("wait for the agent of %s: it has ended: %v; its log ends with:\n%s",
				n.Name, n.agent.Wait(), controlplane.LogTail(n.LogPath())) //nolint:errorlint // nil if it gave 0
		case <-ctx.Done():
			return fmt.Errorf("wait for the agent of %s: %w: %w", n.Name, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// works tells whether the agent calls itself ready, and a process of the node
// reaches the API server through the ClusterIP of default/kubernetes: the first
// alone says little of kube-proxy, the second of an agent that finds the table of
// the one before.
func (n *Node) works(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.isReady(ctx); err != nil {
		return err
	}
	service, err := n.cluster.Client().CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return err
	}
	target := netip.AddrPortFrom(netip.MustParseAddr(service.Spec.ClusterIP), uint16(service.Spec.Ports[0].Port))
	conn, err := n.Host.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// isReady asks as the node's kubelet does.
func (n *Node) isReady(ctx context.Context) error {
	addr := netip.AddrPortFrom(n.Host.Addrs()[0], 10256)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+n.ready, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: n.Host.DialContext, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", n.ready, response.Status)
	}
	return nil
}

// Agent is the process of the node's agent, nil if none was started. It may have
// ended.
func (n *Node) Agent() *testnet.Process { return n.agent }

// StopAgent ends the agent with SIGTERM and waits until it is gone. What it
// programmed stays. None is no error.
func (n *Node) StopAgent() error {
	if n.agent == nil {
		return nil
	}
	agent := n.agent
	n.agent = nil
	if err := agent.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-agent.Done():
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(fmt.Errorf("stop agent of %s: it still runs 10s after SIGTERM", n.Name), agent.Kill())
	}
}

// KillAgent ends the agent with SIGKILL.
func (n *Node) KillAgent() error {
	if n.agent == nil {
		return nil
	}
	agent := n.agent
	n.agent = nil
	return agent.Kill()
}

// LogPath is the file that the node's agents write to.
func (n *Node) LogPath() string { return filepath.Join(n.cluster.logDir, n.Name+".log") }
