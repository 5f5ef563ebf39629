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

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// object is what one manifest says.
type object struct {
	ref      model.ObjectRef
	path     string // of the file
	document int32
	line     int32

	// value is *model.Service, *model.EndpointSlice, *model.Node or
	// []netip.Prefix; nil for an object that the proxy does not take.
	value    any
	problems []model.Problem
}

// take converts the object of a known kind that the JSON text is.
func (in *reading) take(k kind, text chunk) {
	switch k {
	case kindService:
		takeAs(in, k, text, func(o *corev1.Service) (any, []model.Problem) {
			s, p := in.convert.Service(o)
			return orNil(s), p
		})
	case kindEndpointSlice:
		takeAs(in, k, text, func(o *discoveryv1.EndpointSlice) (any, []model.Problem) {
			setPortDefaults(o)
			s, p := in.convert.EndpointSlice(o)
			return orNil(s), p
		})
	case kindNode:
		takeAs(in, k, text, func(o *corev1.Node) (any, []model.Problem) {
			n, p := in.convert.Node(o)
			return n, p
		})
	case kindServiceCIDR:
		takeAs(in, k, text, func(o *networkingv1.ServiceCIDR) (any, []model.Problem) {
			r, p := in.convert.ServiceCIDR(o)
			return r, p
		})
	default:
		in.ignore(k, text.line)
	}
}

// orNil makes a nil pointer a nil value.
func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return v
}

// setPortDefaults sets what the API server sets in the ports of a slice: a port
// without a name is that of an unnamed service port.
func setPortDefaults(o *discoveryv1.EndpointSlice) {
	for i := range o.Ports {
		if o.Ports[i].Name == nil {
			o.Ports[i].Name = new(string)
		}
	}
}

// apiObject is a pointer to a T that has the metadata of an API object.
type apiObject[T any] interface {
	*T
	metav1.Object
}

// takeAs decodes the text as a T and adds the object that it converts to.
func takeAs[T any, P apiObject[T]](in *reading, k kind, text chunk, convert func(*T) (any, []model.Problem)) {
	o := new(T)
	if err := in.decode(text, o); err != nil {
		in.fail(text.line, err)
		return
	}
	meta := P(o)
	if meta.GetName() == "" {
		in.fail(text.line, errors.New("metadata.name is missing: name the object"))
		return
	}
	if k == kindNode && meta.GetName() != in.node {
		in.log.V(1).Info("Ignored another node", "file", in.path, "line", text.line, "node", meta.GetName())
		return
	}
	ref := model.ObjectRef{Kind: k.name, Name: meta.GetName()}
	if k == kindService || k == kindEndpointSlice {
		if meta.GetNamespace() == "" {
			meta.SetNamespace(metav1.NamespaceDefault)
		}
		ref.Namespace = meta.GetNamespace()
	}
	value, problems := convert(o)
	in.objects = append(in.objects, object{ref: ref, path: in.path, document: int32(in.document), line: int32(text.line), value: value, problems: problems})
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
