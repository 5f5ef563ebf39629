package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// Keep writes what explains a failed test to a directory, a file each: the
// objects that matter, and of each node the ruleset, the conntrack table, the
// addresses and routes, and the agent's log. What can't be read is an error; the
// rest is written.
func (c *Cluster) Keep(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	errs := []error{c.CopyLogs(dir)}
	for _, kind := range kinds {
		list, err := kind.list(ctx, c.Client())
		if err == nil {
			err = writeYAML(filepath.Join(dir, kind.name+".yaml"), list)
		}
		errs = append(errs, err)
	}
	for _, n := range c.nodes {
		for _, q := range questions {
			out, err := n.Host.Run(q.command[0], q.command[1:]...)
			errs = append(errs, err, os.WriteFile(filepath.Join(dir, n.Name+"-"+q.name), []byte(out), 0o644))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	return nil
}

// CopyLogs copies the logs of the control plane and of the agents to a directory.
func (c *Cluster) CopyLogs(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "logs")); err != nil {
		return fmt.Errorf("copy logs: %w", err)
	}
	if err := os.CopyFS(filepath.Join(dir, "logs"), os.DirFS(c.logDir)); err != nil {
		return fmt.Errorf("copy logs: %w", err)
	}
	return nil
}

// questions are what a node is asked, and the file for the answer.
var questions = []struct {
	name    string
	command []string
}{
	{"ruleset.nft", []string{"nft", "list", "ruleset"}},
	{"conntrack", []string{"cat", "/proc/net/nf_conntrack"}},
	{"addresses", []string{"ip", "address"}},
	{"routes", []string{"ip", "route"}},
	{"routes6", []string{"ip", "-6", "route"}},
	{"neighbours", []string{"ip", "neighbour"}},
	{"counters", []string{"nstat", "-asz"}},
	{"conntrack-counters", []string{"conntrack", "-S"}},
}

// kinds are the objects that matter.
var kinds = []struct {
	name string
	list func(context.Context, kubernetes.Interface) (runtime.Object, error)
}{
	{"services", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	}},
	{"endpointslices", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	}},
	{"pods", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	}},
	{"nodes", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	}},
	{"servicecidrs", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	}},
	{"events", func(ctx context.Context, c kubernetes.Interface) (runtime.Object, error) {
		return c.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	}},
}

// writeYAML writes a list as kubectl get -o yaml does, without managed fields.
func writeYAML(path string, list runtime.Object) error {
	objects, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	var text []byte
	for _, object := range objects {
		if accessor, err := meta.Accessor(object); err == nil {
			accessor.SetManagedFields(nil)
		}
		if kinds, _, err := scheme.Scheme.ObjectKinds(object); err == nil {
			object.GetObjectKind().SetGroupVersionKind(kinds[0])
		}
		one, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		text = append(append(text, "---\n"...), one...)
	}
	return os.WriteFile(path, text, 0o644)
}
