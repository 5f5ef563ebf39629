package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// object is what one manifest says, and where.
type object struct {
	source.Object
	path     string // of the file
	document int32
	line     int32
}

// newObject makes an object to decode a manifest of the kind into, nil if it is
// not one that a proxy reads.
func newObject(k kind) metav1.Object {
	switch k {
	case kindService:
		return new(corev1.Service)
	case kindEndpointSlice:
		return new(discoveryv1.EndpointSlice)
	case kindNode:
		return new(corev1.Node)
	case kindServiceCIDR:
		return new(networkingv1.ServiceCIDR)
	}
	return nil
}

// take converts the object of a kind that the JSON text is.
func (in *reading) take(k kind, text chunk) {
	o := newObject(k)
	if o == nil {
		in.ignore(k, text.line)
		return
	}
	if err := in.decode(text, o); err != nil {
		in.fail(text.line, err)
		return
	}
	if o.GetName() == "" {
		in.fail(text.line, errors.New("metadata.name is missing: name the object"))
		return
	}
	if k == kindNode && o.GetName() != in.node {
		in.log.V(1).Info("Ignored another node", "file", in.path, "line", text.line, "node", o.GetName())
		return
	}
	setDefaults(o)
	converted, _ := in.convert.Object(o)
	in.objects = append(in.objects, object{converted, in.path, int32(in.document), int32(text.line)})
}

// setDefaults sets what the API server would: a namespace, and the name of a
// slice's port, which without one is that of an unnamed service port.
func setDefaults(o metav1.Object) {
	if o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
		for i := range slice.Ports {
			if slice.Ports[i].Name == nil {
				slice.Ports[i].Name = new(string)
			}
		}
	}
}

// decode decodes JSON as the API server does. A field that is unknown is worth a
// word: the manifest's author meant something by it.
func (in *reading) decode(text chunk, o any) error {
	strict, err := kjson.UnmarshalStrict(text.text, o)
	if err != nil {
		return decodeError(text, o, err)
	}
	for _, err := range strict {
		var field kjson.FieldError
		if errors.As(err, &field) && strings.HasPrefix(err.Error(), "duplicate") {
			return fmt.Errorf("%s stands there twice: remove one", field.FieldPath())
		}
		if in.unknown++; in.unknown <= maxErrors {
			in.log.Info("Ignored a field that is not of the API", "file", in.path, "line", text.line, "error", err.Error())
		}
	}
	return nil
}

// ignore tells of an object that no proxy reads.
func (in *reading) ignore(k kind, line int) {
	switch {
	case k.apiVersion == "" || k.name == "":
		in.fail(line, errors.New("apiVersion or kind is missing: give both"))
	case k.isOtherVersion():
		in.log.Info("Ignored an object of a version that is not read: use v1", "file", in.path, "line", line, "kind", k.String())
	default:
		in.log.V(1).Info("Ignored an object of another kind", "file", in.path, "line", line, "kind", k.String())
	}
}

// decodeError adds the line to an error that decoding the text had, and words it
// as a field. The decoder of the API keeps its types to itself; the standard
// library's, which it was made from, tells the offset.
func decodeError(text chunk, o any, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(json.Unmarshal(text.text, o), &wrong) {
		return err
	}
	return &lineError{text.lineAt(wrong.Offset), fmt.Sprintf("%s is a JSON %s: write one of type %s", wrong.Field, wrong.Value, wrong.Type)}
}
