package convert

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

func TestTakesService(t *testing.T) {
	for _, row := range []struct {
		name, proxy string
		labels      map[string]string
		spec        corev1.ServiceSpec
		want        bool
	}{
		{name: "a cluster IP", spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: true},
		{name: "an IPv6 cluster IP", spec: corev1.ServiceSpec{ClusterIP: "fd00::1"}, want: true},
		{name: "no cluster IP yet", want: false},
		{name: "headless", spec: corev1.ServiceSpec{ClusterIP: "None"}, want: false},
		{name: "an external name", spec: corev1.ServiceSpec{Type: "ExternalName", ClusterIP: "10.96.0.1"}, want: false},
		{name: "the headless label", labels: map[string]string{corev1.IsHeadlessService: ""},
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: true},
		{name: "another proxy's", labels: map[string]string{LabelServiceProxyName: "other"},
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: false},
		{name: "an empty proxy name", labels: map[string]string{LabelServiceProxyName: ""},
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: false},
		{name: "ours by name", proxy: "kube-vmap", labels: map[string]string{LabelServiceProxyName: "kube-vmap"},
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: true},
		{name: "not ours by name", proxy: "kube-vmap", labels: map[string]string{LabelServiceProxyName: "other"},
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: false},
		{name: "the default proxy's", proxy: "kube-vmap", spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, want: false},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := corev1.Service{Spec: row.spec}
			o.Labels = row.labels
			if got := New(row.proxy).TakesService(&o); got != row.want {
				t.Errorf("taken: %t, want %t", got, row.want)
			}
		})
	}
}

// The selectors of a watch pass everything that the converter takes.
func TestSelectorsPassWhatIsTaken(t *testing.T) {
	fieldSelector := fields.ParseSelectorOrDie(ServiceFieldSelector)
	for _, proxy := range []string{"", "kube-vmap", "other"} {
		c := New(proxy)
		labelSelector, err := labels.Parse(c.ServiceLabelSelector())
		if err != nil {
			t.Fatal(err)
		}
		for _, ip := range []string{"", "None", "10.96.0.1"} {
			for _, l := range []map[string]string{nil, {LabelServiceProxyName: ""}, {LabelServiceProxyName: "kube-vmap"}, {LabelServiceProxyName: "other"}} {
				o := corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: ip}}
				o.Labels = l
				passes := labelSelector.Matches(labels.Set(l)) && fieldSelector.Matches(fields.Set{"spec.clusterIP": ip})
				if taken := c.TakesService(&o); taken && !passes || passes && !taken && ip != "" {
					t.Errorf("proxy %q, labels %v, cluster IP %q: taken %t, passed %t", proxy, l, ip, taken, passes)
				}
			}
		}
	}
	headless := labels.Set{corev1.IsHeadlessService: ""}
	if s, err := labels.Parse(EndpointSliceLabelSelector); err != nil || s.Matches(headless) || !s.Matches(labels.Set{}) {
		t.Errorf("the selector of slices %q (%v) does not hold back %v alone", EndpointSliceLabelSelector, err, headless)
	}
}

func TestTakesEndpointSlice(t *testing.T) {
	ofWeb := map[string]string{discoveryv1.LabelServiceName: "web"}
	for _, row := range []struct {
		name   string
		labels map[string]string
		family discoveryv1.AddressType
		want   bool
	}{
		{"IPv4", ofWeb, "IPv4", true},
		{"IPv6", ofWeb, "IPv6", true},
		{"an unknown family, which is a problem to tell", ofWeb, "IPX", true},
		{"host names", ofWeb, "FQDN", false},
		{"no Service", nil, "IPv4", false},
		{"an empty name of a Service", map[string]string{discoveryv1.LabelServiceName: ""}, "IPv4", false},
		{"headless", map[string]string{discoveryv1.LabelServiceName: "web", corev1.IsHeadlessService: ""}, "IPv4", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := discoveryv1.EndpointSlice{AddressType: row.family}
			o.Labels = row.labels
			if got := New("").TakesEndpointSlice(&o); got != row.want {
				t.Errorf("taken: %t, want %t", got, row.want)
			}
		})
	}
}
