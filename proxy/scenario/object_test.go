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
	value any // *corev1.Service and so on; nil: only the name
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
	var head struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return object{}, err
	}
	o := object{ref: model.ObjectRef{Kind: head.Kind, Namespace: head.Namespace, Name: head.Name}}
	switch head.APIVersion + " " + head.Kind {
	case "v1 Service":
		o.value = &corev1.Service{}
	case "discovery.k8s.io/v1 EndpointSlice":
		o.value = &discoveryv1.EndpointSlice{}
	case "v1 Node":
		o.value = &corev1.Node{}
	case "networking.k8s.io/v1 ServiceCIDR":
		o.value = &networkingv1.ServiceCIDR{}
	default:
		return object{}, fmt.Errorf("apiVersion %q, kind %q is none that a proxy reads", head.APIVersion, head.Kind)
	}
	return o, yaml.UnmarshalStrict(doc, o.value)
}

// parseDeletion reads "Service shop/web".
func parseDeletion(line string) (object, error) {
	kind, name, ok := strings.Cut(line, " ")
	if !ok || !slices.Contains([]string{"Service", "EndpointSlice", "Node", "ServiceCIDR"}, kind) {
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
		w.ledger.SetProblems(o.ref, w.set(o))
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

// set tells the ledger of one object.
func (w *world) set(o object) (problems []model.Problem) {
	switch o.ref.Kind {
	case "Service":
		var s *model.Service
		if o.value != nil {
			s, problems = w.convert.Service(o.value.(*corev1.Service))
		}
		w.ledger.SetService(model.ServiceName{Namespace: o.ref.Namespace, Name: o.ref.Name}, s)
	case "EndpointSlice":
		var s *model.EndpointSlice
		if o.value != nil {
			s, problems = w.convert.EndpointSlice(o.value.(*discoveryv1.EndpointSlice))
		}
		w.ledger.SetSlice(model.SliceName{Namespace: o.ref.Namespace, Name: o.ref.Name}, s)
	case "Node":
		if o.value != nil && o.ref.Name == w.node {
			var n *model.Node
			n, problems = w.convert.Node(o.value.(*corev1.Node))
			w.ledger.SetNode(n)
		}
	case "ServiceCIDR":
		if o.value == nil {
			w.ledger.SetServiceCIDR(o.ref.Name, nil)
			break
		}
		ranges, found := w.convert.ServiceCIDR(o.value.(*networkingv1.ServiceCIDR))
		w.ledger.SetServiceCIDR(o.ref.Name, ranges)
		problems = found
	}
	return problems
}

func merge[K comparable, V any](into, from map[K]V, gone func(V) bool) map[K]V {
	if into == nil {
		into = map[K]V{}
	}
	maps.Copy(into, from)
	maps.DeleteFunc(into, func(_ K, v V) bool { return gone(v) })
	return into
}

// problemLines are the problems of all objects, sorted.
func (w *world) problemLines() string {
	var lines []string
	for ref, problems := range w.all.Problems {
		for _, p := range problems {
			lines = append(lines, fmt.Sprintf("%s: %s\n", ref, p))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
