package convert

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

func TestObject(t *testing.T) {
	c := New("")
	svc := service(func(*corev1.Service) {})
	slice := endpointSlice(func(*discoveryv1.EndpointSlice) {})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"x"}}}
	wantService, _ := c.Service(svc)
	wantSlice, _ := c.EndpointSlice(slice)
	wantNode, _ := c.Node(node)
	wantRanges, wantProblems := c.ServiceCIDR(cidr)
	for _, row := range []struct {
		in   metav1.Object
		want source.Object
	}{
		{svc, source.Object{Ref: model.ObjectRef{Kind: "Service", Namespace: "shop", Name: "web"}, Value: wantService}},
		{slice, source.Object{Ref: model.ObjectRef{Kind: "EndpointSlice", Namespace: "shop", Name: "web-1"}, Value: wantSlice}},
		{node, source.Object{Ref: model.ObjectRef{Kind: "Node", Name: "a"}, Value: wantNode}},
		{cidr, source.Object{Ref: model.ObjectRef{Kind: "ServiceCIDR", Name: "a"}, Value: wantRanges, Problems: wantProblems}},
		{service(func(o *corev1.Service) { o.Spec.ClusterIP = "None" }), source.Object{Ref: model.ObjectRef{Kind: "Service", Namespace: "shop", Name: "web"}}},
		{endpointSlice(func(o *discoveryv1.EndpointSlice) { o.Labels = nil }), source.Object{Ref: model.ObjectRef{Kind: "EndpointSlice", Namespace: "shop", Name: "web-1"}}},
	} {
		got, known := c.Object(row.in)
		if !known {
			t.Errorf("%s is not known", row.want.Ref)
		}
		compare(t, got, row.want)
		if row.want.Value == nil && got.Value != nil {
			t.Errorf("%s: a nil pointer is no nil value", row.want.Ref)
		}
	}
	if _, known := c.Object(&corev1.Pod{}); known {
		t.Error("a Pod is known")
	}
}
