package scenario

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// object is an API object, or the name of one.
type object struct {
	ref   model.ObjectRef
	value metav1.Object // nil: only the name
}

// parseObjects reads YAML documents.
func parseObjects(data []byte) ([]object, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var list []object
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		o, err := parseObject(doc)
		if err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, doc)
		}
		list = append(list, o)
	}
}

func parseObject(doc []byte) (object, error) {
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return object{}, err
	}
	var value metav1.Object
	switch head.APIVersion + " " + head.Kind {
	case "v1 Service":
		value = &corev1.Service{}
	case "discovery.k8s.io/v1 EndpointSlice":
		value = &discoveryv1.EndpointSlice{}
	case "v1 Node":
		value = &corev1.Node{}
	case "networking.k8s.io/v1 ServiceCIDR":
		value = &networkingv1.ServiceCIDR{}
	default:
		return object{}, fmt.Errorf("apiVersion %q, kind %q is none that a proxy reads", head.APIVersion, head.Kind)
	}
	err := yaml.UnmarshalStrict(doc, value)
	ref, _ := convert.Ref(value)
	return object{ref, value}, err
}

// parseDeletion reads "Service shop/web".
func parseDeletion(line string) (object, error) {
	kind, name, ok := strings.Cut(line, " ")
	kinds := []string{source.KindService, source.KindEndpointSlice, source.KindNode, source.KindServiceCIDR}
	if !ok || !slices.Contains(kinds, kind) {
		return object{}, errors.New("write kind and name: Service shop/web")
	}
	o := object{ref: model.ObjectRef{Kind: kind, Name: name}}
	if namespace, name, ok := strings.Cut(name, "/"); ok {
		o.ref.Namespace, o.ref.Name = namespace, name
	}
	return o, nil
}

// deletion is the object without its content.
func (o object) deletion() object { return object{ref: o.ref} }

// clusterObjects are the Nodes and the ServiceCIDR of the laboratory, but for
// those that the scenario has itself.
func clusterObjects(t *testing.T, s *scenario) []object {
	t.Helper()
	data, err := os.ReadFile("testdata/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseObjects(data)
	if err != nil {
		t.Fatalf("read testdata/cluster.yaml: %v", err)
	}
	if s == nil {
		return list
	}
	return slices.DeleteFunc(list, func(o object) bool {
		return slices.ContainsFunc(s.steps[0].objects, func(own object) bool { return own.ref == o.ref })
	})
}

// world is what a source on a node has seen: it turns objects into updates, and
// keeps the sum of them.
type world struct {
	node    string
	convert *convert.Converter
	ledger  *source.Ledger
	all     model.Update
}

func newWorld(c *config, node string) *world {
	return &world{node: node, convert: convert.New(c.ServiceProxyName), ledger: source.NewLedger()}
}

// apply sets and deletes objects and returns the update that a source makes of it.
func (w *world) apply(objects ...object) model.Update {
	for _, o := range objects {
		if o.ref.Kind == source.KindNode && o.ref.Name != w.node {
			continue // a proxy watches its own
		}
		converted := source.Object{Ref: o.ref}
		if o.value != nil {
			converted, _ = w.convert.Object(o.value)
		}
		w.ledger.Set(converted)
	}
	u, _ := w.ledger.Take()
	w.all.Services = merge(w.all.Services, u.Services, func(s *model.Service) bool { return s == nil })
	w.all.Slices = merge(w.all.Slices, u.Slices, func(s *model.EndpointSlice) bool { return s == nil })
	w.all.Problems = merge(w.all.Problems, u.Problems, func(p []model.Problem) bool { return len(p) == 0 })
	if u.Node != nil {
		w.all.Node = u.Node
	}
	if u.ServiceCIDRs != nil {
		w.all.ServiceCIDRs = u.ServiceCIDRs
	}
	return u
}

func merge[K comparable, V any](into, from map[K]V, gone func(V) bool) map[K]V {
	if into == nil {
		into = map[K]V{}
	}
	maps.Copy(into, from)
	maps.DeleteFunc(into, func(_ K, v V) bool { return gone(v) })
	return into
}
