package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
)

// command is what runs an agent on a node.
func (n *Node) command(ctx context.Context, agent *Agent) (*exec.Cmd, error) {
	binary, err := controlplane.FindBinary("", agent.Name)
	if err != nil {
		return nil, err
	}
	if agent.container != nil {
		return n.podCommand(ctx, agent, binary)
	}
	kubeconfig, err := n.cluster.kubeconfigOf(ctx, agent)
	if err != nil {
		return nil, err
	}
	return exec.Command(binary, slices.Concat(agent.Args, agent.nodeArgs(n.Name, kubeconfig))...), nil
}

// inPod runs a command with the files of a service account where a pod has them,
// which is below /run since /var/run leads there, and with few capabilities. Its
// arguments are the directory of the files, the capabilities and the command.
const inPod = `set -e
files=$1 capabilities=$2
shift 2
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io
ln -s "$files" /run/secrets/kubernetes.io/serviceaccount
exec setpriv --no-new-privs --bounding-set "$capabilities" --inh-caps "$capabilities" "$@"`

// podCommand runs an agent as the container of a pod: in a mount namespace of its
// own, on the node's network.
func (n *Node) podCommand(ctx context.Context, agent *Agent, binary string) (*exec.Cmd, error) {
	files, err := n.cluster.serviceAccountFiles(ctx, agent)
	if err != nil {
		return nil, err
	}
	env, err := agent.environment(n)
	if err != nil {
		return nil, err
	}
	args := []string{"--mount", "sh", "-c", inPod, "sh", files, agent.capabilities(), binary}
	cmd := exec.Command("unshare", slices.Concat(args, agent.Args)...)
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, env)
	return cmd, nil
}

// serviceAccountFiles writes what a kubelet puts into each pod. What was written
// is kept, as for a container that starts again: that needs no API server.
func (c *Cluster) serviceAccountFiles(ctx context.Context, agent *Agent) (string, error) {
	dir := filepath.Join(c.dir, agent.Namespace+"-"+agent.ServiceAccount)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	token, err := c.ControlPlane.TokenFor(ctx, agent.Namespace, agent.ServiceAccount)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("write service account files: %w", err)
	}
	for name, text := range map[string][]byte{
		"token":     []byte(token),
		"ca.crt":    c.ControlPlane.RESTConfig().CAData,
		"namespace": []byte(agent.Namespace),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", fmt.Errorf("write service account files: %w", err)
		}
	}
	return dir, nil
}
