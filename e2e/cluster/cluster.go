package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/client-go/kubernetes"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Options say what runs in a cluster.
type Options struct {
	// Agent runs on each node from the start. Without one the nodes are bare:
	// Node.StartAgent starts one later.
	Agent *Agent
	// LogDir gets the logs of the control plane and of the agents, and stays. If
	// empty, they are written to a temporary directory that goes with Close.
	LogDir string
}

// Cluster is a running cluster. Its methods may be called from any goroutine,
// but one pod's or node's by one at a time.
type Cluster struct {
	// Lab is the network. Its hosts are "node-a", "node-b", "client",
	// "control-plane", "outside", and pods as "namespace/name".
	Lab *testnet.Lab
	// ControlPlane is there to be restarted. It is stopped by Close.
	ControlPlane *controlplane.ControlPlane

	dir    string // kubeconfigs
	logDir string
	nodes  []*Node

	mu   sync.Mutex
	pods map[string]*Pod // by host name
}

// Start makes a cluster and returns when its agents work. The context bounds the
// start only. On an error nothing is left.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	c := &Cluster{logDir: options.LogDir, pods: map[string]*Pod{}}
	if err := c.start(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, options Options) (err error) {
	if c.dir, err = os.MkdirTemp("", "cluster-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if c.logDir == "" {
		c.logDir = filepath.Join(c.dir, "logs")
	}
	network := topology()
	if c.Lab, err = testnet.Build(network); err != nil {
		return err
	}
	host := c.Lab.Host(controlPlaneHost)
	address, _ := host.Addr(testnet.IPv4)
	c.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{
		Address:   address,
		Namespace: host.FD(),
		LogDir:    c.logDir,
	})
	if err != nil {
		return err
	}
	for _, n := range network.Nodes {
		if err := c.addNode(ctx, n); err != nil {
			return err
		}
	}
	if options.Agent == nil {
		return nil
	}
	return c.StartAgents(ctx, options.Agent)
}

// Client is a client with the rights of a cluster administrator.
func (c *Cluster) Client() kubernetes.Interface { return c.ControlPlane.Client() }

// Nodes are the nodes, in the order of their names.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node finds a node by its name. It panics if there is none: a name is a literal.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	panic(fmt.Sprintf("cluster: no node %q", name))
}

// KeepLogs moves the logs to a directory that outlives Close, and returns it. It
// is Options.LogDir if that was set.
func (c *Cluster) KeepLogs() (string, error) {
	if filepath.Dir(c.logDir) != c.dir {
		return c.logDir, nil
	}
	kept, err := os.MkdirTemp("", "cluster-logs-")
	if err != nil {
		return "", fmt.Errorf("keep logs: %w", err)
	}
	if err := os.CopyFS(kept, os.DirFS(c.logDir)); err != nil {
		return "", fmt.Errorf("keep logs: %w", err)
	}
	return kept, nil
}

// Close ends all processes and servers and removes what they wrote. It may be
// called again.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.StopAgent())
	}
	if c.ControlPlane != nil {
		errs = append(errs, c.ControlPlane.Stop())
	}
	if c.Lab != nil {
		errs = append(errs, c.Lab.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}
