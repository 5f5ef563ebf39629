package convert

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Ref names an object of a kind that a proxy reads. It reports false for others.
func Ref(o metav1.Object) (model.ObjectRef, bool) {
	ref := model.ObjectRef{Namespace: o.GetNamespace(), Name: o.GetName()}
	switch o.(type) {
	case *corev1.Service:
		ref.Kind = source.KindService
	case *discoveryv1.EndpointSlice:
		ref.Kind = source.KindEndpointSlice
	case *corev1.Node:
		ref.Kind, ref.Namespace = source.KindNode, ""
	case *networkingv1.ServiceCIDR:
		ref.Kind, ref.Namespace = source.KindServiceCIDR, ""
	default:
		return ref, false
	}
	return ref, true
}

// Object converts an object of any kind that a proxy reads. It reports false for
// others.
func (c *Converter) Object(o metav1.Object) (source.Object, bool) {
	ref, known := Ref(o)
	ref.Namespace = c.names.share(ref.Namespace)
	converted := source.Object{Ref: ref}
	switch o := o.(type) {
	case *corev1.Service:
		if s, p := c.Service(o); s != nil {
			converted.Value, converted.Problems = s, p
		}
	case *discoveryv1.EndpointSlice:
		if s, p := c.EndpointSlice(o); s != nil {
			converted.Value, converted.Problems = s, p
		}
	case *corev1.Node:
		converted.Value, converted.Problems = c.Node(o)
	case *networkingv1.ServiceCIDR:
		converted.Value, converted.Problems = c.ServiceCIDR(o)
	}
	return converted, known
}
