package convert

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func TestNode(t *testing.T) {
	for _, row := range []struct {
		name     string
		in       func(*corev1.Node)
		want     model.Node
		problems []string
	}{
		{name: "bare", in: func(*corev1.Node) {}},
		{name: "dual stack",
			in: func(o *corev1.Node) {
				o.UID, o.Labels = "u1", map[string]string{"topology.kubernetes.io/zone": "z1", "failure-domain.beta.kubernetes.io/zone": "old"}
				o.Spec.PodCIDRs, o.Spec.PodCIDR = []string{"10.244.1.0/24", "fd00:10::/64"}, "10.244.1.0/24"
				o.Status.Addresses = []corev1.NodeAddress{{Type: "Hostname", Address: "a"}, {Type: "ExternalIP", Address: "198.51.100.1"},
					{Type: "InternalIP", Address: "192.0.2.010"}, {Type: "InternalIP", Address: "2001:db8::10"}}
			},
			want: model.Node{Zone: "z1", UID: "u1", Labels: map[string]string{"topology.kubernetes.io/zone": "z1", "failure-domain.beta.kubernetes.io/zone": "old"},
				InternalIPs: addrs("192.0.2.10", "2001:db8::10"), PodCIDRs: ranges("10.244.1.0/24", "fd00:10::/64")}},
		{name: "podCIDR alone",
			in:   func(o *corev1.Node) { o.Spec.PodCIDR = "10.244.1.7/24" },
			want: model.Node{PodCIDRs: ranges("10.244.1.0/24")}},
		{name: "problems",
			in: func(o *corev1.Node) {
				o.Spec.PodCIDRs = []string{"10.244.1.0", "fd00:10::/64"}
				o.Status.Addresses = []corev1.NodeAddress{{Type: "InternalIP", Address: "node-a"}, {Type: "InternalIP", Address: "192.0.2.10"}}
			},
			want: model.Node{InternalIPs: addrs("192.0.2.10"), PodCIDRs: ranges("fd00:10::/64")},
			problems: []string{`status.addresses[0].address: "node-a" is not an IP address: correct it`,
				`spec.podCIDRs[0]: "10.244.1.0" is not an address range: write it as address/length`}},
		{name: "podCIDR that can't be read",
			in:       func(o *corev1.Node) { o.Spec.PodCIDR = "?" },
			problems: []string{`spec.podCIDR: "?" is not an address range: write it as address/length`}},
		{name: "being deleted",
			in:   func(o *corev1.Node) { now := metav1.Now(); o.DeletionTimestamp = &now },
			want: model.Node{Leaving: true}},
		{name: "tainted by the cluster autoscaler",
			in:   func(o *corev1.Node) { o.Spec.Taints = []corev1.Taint{{Key: "other"}, {Key: TaintToBeDeleted}} },
			want: model.Node{Leaving: true}},
		{name: "tainted otherwise",
			in: func(o *corev1.Node) {
				o.Spec.Taints, o.Spec.Unschedulable = []corev1.Taint{{Key: "node.kubernetes.io/unschedulable"}}, true
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
			row.in(o)
			row.want.Name = "node-a"
			got, found := New("").Node(o)
			compare(t, got, &row.want)
			compareProblems(t, found, row.problems...)
		})
	}
}

func TestServiceCIDR(t *testing.T) {
	o := &networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00:96::/112", "10.97.0.0/99"}}}
	got, found := New("").ServiceCIDR(o)
	compare(t, got, ranges("10.96.0.0/16", "fd00:96::/112"))
	compareProblems(t, found, `spec.cidrs[2]: "10.97.0.0/99" is not an address range: write it as address/length`)
}
