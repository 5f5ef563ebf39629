package cluster

import (
	"context"
	"fmt"
	"io"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
)

// Report writes what explains a failed test: what the API holds, what each node's
// kernel has, and the end of each agent's log. What can't be read is said so.
func (c *Cluster) Report(ctx context.Context, w io.Writer) {
	c.reportObjects(ctx, w)
	for _, n := range c.nodes {
		ruleset, err := n.Host.Run("nft", "list", "ruleset")
		section(w, n.Name+": nft list ruleset", []byte(ruleset), err)
		section(w, n.Name+": log", controlplane.LogTail(n.LogPath()), nil)
	}
}

// reportObjects writes the Services and EndpointSlices of the suite's namespaces.
func (c *Cluster) reportObjects(ctx context.Context, w io.Writer) {
	services, err := c.Client().CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err == nil {
		for i := range services.Items {
			object := &services.Items[i]
			sectionOf(w, "Service "+object.Namespace+"/"+object.Name, &object.ObjectMeta, object)
		}
	}
	var slices *discoveryv1.EndpointSliceList
	if err == nil {
		slices, err = c.Client().DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	}
	if err != nil {
		section(w, "objects", nil, err)
		return
	}
	for i := range slices.Items {
		object := &slices.Items[i]
		sectionOf(w, "EndpointSlice "+object.Namespace+"/"+object.Name, &object.ObjectMeta, object)
	}
}

func sectionOf(w io.Writer, title string, meta *metav1.ObjectMeta, object runtime.Object) {
	meta.ManagedFields = nil
	text, err := yaml.Marshal(object)
	section(w, title, text, err)
}

func section(w io.Writer, title string, text []byte, err error) {
	fmt.Fprintf(w, "=== %s\n%s\n", title, text)
	if err != nil {
		fmt.Fprintf(w, "(%v)\n", err)
	}
}
