package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Agent is what programs the Services on a node.
type Agent struct {
	// Name is that of the binary.
	Name string
	// Args are the arguments that are the same on all nodes.
	Args []string
	// Namespace and ServiceAccount say with whose token it runs.
	Namespace, ServiceAccount string

	// rules are the rights that the service account is given; nil: it has them.
	rules    []rbacv1.PolicyRule
	nodeArgs func(node, kubeconfig string) []string
	// ready is the path that answers 200 at its health port when it works.
	ready string

	// container is that of a DaemonSet, nil if the agent does not run as in a pod.
	container *corev1.Container
}

// With is the agent with other arguments, --flag=value or --flag. One takes the
// place of those in Args that have its flag.
func (a *Agent) With(args ...string) *Agent {
	other := *a
	other.Args = slices.DeleteFunc(slices.Clone(a.Args), func(arg string) bool {
		return slices.ContainsFunc(args, func(new string) bool { return flagOf(new) == flagOf(arg) })
	})
	other.Args = append(other.Args, args...)
	return &other
}

func flagOf(arg string) string {
	flag, _, _ := strings.Cut(arg, "=")
	return flag
}

// KubeVmap is this repository's agent, bin/kube-vmap, with a kubeconfig.
func KubeVmap() *Agent {
	return &Agent{
		Name:           "kube-vmap",
		Args:           []string{"run", "--cluster-cidr=" + joined(PodCIDRs())},
		Namespace:      metav1.NamespaceSystem,
		ServiceAccount: "kube-vmap",
		rules:          serviceProxyRules(),
		ready:          "/readyz",
		nodeArgs: func(node, kubeconfig string) []string {
			return []string{"--kubeconfig=" + kubeconfig, "--node-name=" + node}
		},
	}
}

// FromDaemonSet is the agent that a DaemonSet describes. It runs as its pod does:
// with the arguments, environment and capabilities of the container and the token
// of the service account, where a pod finds it.
func FromDaemonSet(ds *appsv1.DaemonSet) (*Agent, error) {
	pod := ds.Spec.Template.Spec
	if len(pod.Containers) != 1 || !pod.HostNetwork {
		return nil, fmt.Errorf("run DaemonSet %s: %d containers, hostNetwork %t: one container on the node's network is understood",
			ds.Name, len(pod.Containers), pod.HostNetwork)
	}
	c := &pod.Containers[0]
	if c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet == nil {
		return nil, fmt.Errorf("run DaemonSet %s: its container has no readiness probe by HTTP", ds.Name)
	}
	return &Agent{
		Name: c.Name, Args: c.Args, Namespace: ds.Namespace, ServiceAccount: pod.ServiceAccountName, container: c,
		ready:    c.ReadinessProbe.HTTPGet.Path,
		nodeArgs: func(string, string) []string { return nil },
	}, nil
}

// KubeProxy is kube-proxy in nftables mode: the reference that the suite's
// expectations are checked against. It needs the nft binary.
func KubeProxy() *Agent {
	return &Agent{
		Name: "kube-proxy",
		Args: []string{
			"--proxy-mode=nftables",
			"--cluster-cidr=" + joined(PodCIDRs()),
			"--conntrack-max-per-core=0", // a namespace can't set it
		},
		Namespace:      metav1.NamespaceSystem,
		ServiceAccount: "kube-proxy",
		rules:          serviceProxyRules(),
		ready:          "/healthz",
		nodeArgs: func(node, kubeconfig string) []string {
			return []string{"--kubeconfig=" + kubeconfig, "--hostname-override=" + node}
		},
	}
}

// environment is that of the container on a node, NAME=value.
func (a *Agent) environment(n *Node) (env []string, err error) {
	for _, e := range a.container.Env {
		value := e.Value
		if e.ValueFrom != nil {
			if e.ValueFrom.FieldRef == nil || e.ValueFrom.FieldRef.FieldPath != "spec.nodeName" {
				return nil, fmt.Errorf("run container %s: environment variable %s: only values and spec.nodeName are understood", a.Name, e.Name)
			}
			value = n.Name
		}
		env = append(env, e.Name+"="+value)
	}
	return env, nil
}

// capabilities are those of the container, as setpriv wants them.
func (a *Agent) capabilities() string {
	set := "-all"
	if c := a.container.SecurityContext; c != nil && c.Capabilities != nil {
		for _, name := range c.Capabilities.Add {
			set += ",+" + strings.ToLower(string(name))
		}
	}
	return set
}

// serviceProxyRules are all that a Service proxy may do: read what it programs,
// and tell of it by events.
func serviceProxyRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services", "nodes"}, Verbs: read},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"servicecidrs"}, Verbs: read},
		{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch", "update"}},
	}
}

func joined(prefixes []netip.Prefix) string {
	s := make([]string, len(prefixes))
	for i, p := range prefixes {
		s[i] = p.String()
	}
	return strings.Join(s, ",")
}
