package cluster

import (
	"net/netip"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Agent is what programs the Services on a node.
type Agent struct {
	// Name is that of the binary, of its service account in kube-system and of the
	// ClusterRole with its rights.
	Name string
	// Args are the arguments that are the same on all nodes.
	Args []string

	rules    []rbacv1.PolicyRule
	nodeArgs func(node, kubeconfig string) []string
}

// With is the agent with more arguments.
func (a *Agent) With(args ...string) *Agent {
	more := *a
	more.Args = slices.Concat(a.Args, args)
	return &more
}

// KubeVmap is this repository's agent, bin/kube-vmap.
func KubeVmap() *Agent {
	return &Agent{
		Name:  "kube-vmap",
		Args:  []string{"run", "--cluster-cidr=" + joined(PodCIDRs())},
		rules: serviceProxyRules(),
		nodeArgs: func(node, kubeconfig string) []string {
			return []string{"--kubeconfig=" + kubeconfig, "--node-name=" + node}
		},
	}
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
		rules: serviceProxyRules(),
		nodeArgs: func(node, kubeconfig string) []string {
			return []string{"--kubeconfig=" + kubeconfig, "--hostname-override=" + node}
		},
	}
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
