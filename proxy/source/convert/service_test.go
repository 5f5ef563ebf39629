package convert

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// service is a Service with a cluster IP and one port, changed as a row wants it.
func service(change func(*corev1.Service)) *corev1.Service {
	o := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1"},
		Spec: corev1.ServiceSpec{
			ClusterIP:  "10.96.0.1",
			ClusterIPs: []string{"10.96.0.1"},
			Ports:      []corev1.ServicePort{{Name: "http", Port: 80}},
		},
	}
	change(o)
	return o
}

// converted is what service converts to, changed as a row wants it.
func converted(change func(*model.Service)) *model.Service {
	s := &model.Service{
		Name:       model.ServiceName{Namespace: "shop", Name: "web"},
		UID:        "u1",
		ClusterIPs: addrs("10.96.0.1"),
		Ports:      []model.ServicePort{{Name: "http", Protocol: model.TCP, Port: 80}},
	}
	change(s)
	return s
}

type serviceRow struct {
	name     string
	in       func(*corev1.Service)
	want     func(*model.Service)
	problems []string
}

func runServiceRows(t *testing.T, rows []serviceRow) {
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := converted(func(*model.Service) {})
			if row.want != nil {
				row.want(want)
			}
			got, found := New("").Service(service(row.in))
			compare(t, got, want)
			compareProblems(t, found, row.problems...)
		})
	}
}

func TestServiceSkipped(t *testing.T) {
	s, found := New("").Service(service(func(o *corev1.Service) { o.Spec.ClusterIP = "None"; o.Spec.ClusterIPs = []string{"None"} }))
	if s != nil || found != nil {
		t.Errorf("a headless Service became %v, with %v", s, found)
	}
}

func TestServiceAddresses(t *testing.T) {
	vip, proxy, odd := corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPMode("Odd")
	ingress := func(list ...corev1.LoadBalancerIngress) func(*corev1.Service) {
		return func(o *corev1.Service) { o.Status.LoadBalancer.Ingress = list }
	}
	runServiceRows(t, []serviceRow{
		{name: "dual stack",
			in:   func(o *corev1.Service) { o.Spec.ClusterIPs = []string{"10.96.0.1", "fd00::1"} },
			want: func(s *model.Service) { s.ClusterIPs = addrs("10.96.0.1", "fd00::1") }},
		{name: "clusterIP alone, as a manifest may have it",
			in: func(o *corev1.Service) { o.Spec.ClusterIPs = nil }},
		{name: "odd but acceptable",
			in:   func(o *corev1.Service) { o.Spec.ClusterIPs = []string{"010.096.000.001", "FD00:0::1"} },
			want: func(s *model.Service) { s.ClusterIPs = addrs("10.96.0.1", "fd00::1") }},
		{name: "the same twice",
			in: func(o *corev1.Service) { o.Spec.ClusterIPs = []string{"10.96.0.1", "::ffff:10.96.0.1"} }},
		{name: "one that can't be read",
			in:       func(o *corev1.Service) { o.Spec.ClusterIPs = []string{"10.96.0.1", "fd00::x"} },
			problems: []string{`spec.clusterIPs[1]: "fd00::x" is not an IP address: correct it`}},
		{name: "clusterIP that can't be read",
			in:       func(o *corev1.Service) { o.Spec.ClusterIPs, o.Spec.ClusterIP = nil, "10.96.1" },
			want:     func(s *model.Service) { s.ClusterIPs = nil },
			problems: []string{`spec.clusterIP: "10.96.1" is not an IP address: correct it`}},
		{name: "external IPs",
			in:   func(o *corev1.Service) { o.Spec.ExternalIPs = []string{"127.0.0.1", "198.51.100.010", "0.0.0.0"} },
			want: func(s *model.Service) { s.ExternalIPs = addrs("198.51.100.10") },
			problems: []string{
				"spec.externalIPs[0]: 127.0.0.1 is a loopback address, which can't be served: use a unicast address that is routed",
				"spec.externalIPs[2]: 0.0.0.0 is the unspecified address, which can't be served: use a unicast address that is routed"}},
		{name: "load balancer modes",
			in: ingress(corev1.LoadBalancerIngress{IP: "203.0.113.1"}, corev1.LoadBalancerIngress{IP: "203.0.113.2", IPMode: &vip},
				corev1.LoadBalancerIngress{IP: "203.0.113.3", IPMode: &proxy}, corev1.LoadBalancerIngress{Hostname: "lb.example"},
				corev1.LoadBalancerIngress{IP: "2001:db8::1", Hostname: "lb.example"}),
			want: func(s *model.Service) { s.LoadBalancerIPs = addrs("203.0.113.1", "203.0.113.2", "2001:db8::1") }},
		{name: "load balancer problems",
			in: ingress(corev1.LoadBalancerIngress{IP: "203.0.113.1", IPMode: &odd}, corev1.LoadBalancerIngress{IP: "203.0.113.300"},
				corev1.LoadBalancerIngress{IP: "203.0.113.4"}),
			want: func(s *model.Service) { s.LoadBalancerIPs = addrs("203.0.113.4") },
			problems: []string{`status.loadBalancer.ingress[0].ipMode: "Odd" is unknown: use VIP or Proxy`,
				`status.loadBalancer.ingress[1].ip: "203.0.113.300" is not an IP address: correct it`}},
		{name: "spec.loadBalancerIP is a wish to the cloud, not an address",
			in: func(o *corev1.Service) { o.Spec.Type, o.Spec.LoadBalancerIP = "LoadBalancer", "203.0.113.1" }},
	})
}

func TestServicePorts(t *testing.T) {
	ports := func(list ...corev1.ServicePort) func(*corev1.Service) {
		return func(o *corev1.Service) { o.Spec.Type, o.Spec.Ports = corev1.ServiceTypeNodePort, list }
	}
	want := func(list ...model.ServicePort) func(*model.Service) {
		return func(s *model.Service) { s.Ports = list }
	}
	runServiceRows(t, []serviceRow{
		{name: "three protocols on one number",
			in: ports(corev1.ServicePort{Name: "a", Port: 53, Protocol: "TCP"}, corev1.ServicePort{Name: "b", Port: 53, Protocol: "UDP"},
				corev1.ServicePort{Name: "c", Port: 53, Protocol: "SCTP"}),
			want: want(model.ServicePort{Name: "a", Port: 53, Protocol: model.TCP}, model.ServicePort{Name: "b", Port: 53, Protocol: model.UDP},
				model.ServicePort{Name: "c", Port: 53, Protocol: model.SCTP})},
		{name: "one name for two protocols",
			in:   ports(corev1.ServicePort{Name: "dns", Port: 53}, corev1.ServicePort{Name: "dns", Port: 53, Protocol: "UDP"}),
			want: want(model.ServicePort{Name: "dns", Port: 53, Protocol: model.TCP}, model.ServicePort{Name: "dns", Port: 53, Protocol: model.UDP})},
		{name: "a node port",
			in:   ports(corev1.ServicePort{Port: 80, NodePort: 30080}),
			want: want(model.ServicePort{Protocol: model.TCP, Port: 80, NodePort: 30080})},
		{name: "bounds",
			in:   ports(corev1.ServicePort{Name: "a", Port: 1, NodePort: 1}, corev1.ServicePort{Name: "b", Port: 65535, NodePort: 65535}),
			want: want(model.ServicePort{Name: "a", Protocol: model.TCP, Port: 1, NodePort: 1}, model.ServicePort{Name: "b", Protocol: model.TCP, Port: 65535, NodePort: 65535})},
		{name: "out of range",
			in: ports(corev1.ServicePort{Name: "a", Port: 0}, corev1.ServicePort{Name: "b", Port: 65536}, corev1.ServicePort{Name: "c", Port: -1},
				corev1.ServicePort{Name: "d", Port: 80, NodePort: 65536}),
			want: want(model.ServicePort{Name: "d", Protocol: model.TCP, Port: 80}),
			problems: []string{"spec.ports[0].port: 0 is not a port number: use 1 to 65535", "spec.ports[1].port: 65536 is not a port number: use 1 to 65535",
				"spec.ports[2].port: -1 is not a port number: use 1 to 65535", "spec.ports[3].nodePort: 65536 is not a port number: use 1 to 65535"}},
		{name: "an unknown protocol",
			in:       ports(corev1.ServicePort{Name: "a", Port: 80, Protocol: "tcp"}, corev1.ServicePort{Name: "b", Port: 81}),
			want:     want(model.ServicePort{Name: "b", Protocol: model.TCP, Port: 81}),
			problems: []string{`spec.ports[0].protocol: "tcp" is unknown: use TCP, UDP or SCTP`}},
		{name: "the same name, number and node port twice",
			in: ports(corev1.ServicePort{Name: "a", Port: 80, NodePort: 30080}, corev1.ServicePort{Name: "a", Port: 81},
				corev1.ServicePort{Name: "b", Port: 80}, corev1.ServicePort{Name: "c", Port: 82, NodePort: 30080},
				corev1.ServicePort{Name: "d", Port: 82, NodePort: 30080, Protocol: "UDP"}),
			want: want(model.ServicePort{Name: "a", Protocol: model.TCP, Port: 80, NodePort: 30080}, model.ServicePort{Name: "c", Protocol: model.TCP, Port: 82},
				model.ServicePort{Name: "d", Protocol: model.UDP, Port: 82, NodePort: 30080}),
			problems: []string{`spec.ports[1].name: "a" is the name of an earlier TCP port: give each port its own name`,
				`spec.ports[2].port: 80/TCP is port "a" already: remove one of them`,
				`spec.ports[3].nodePort: 30080/TCP is the node port of port "a" already: use another`}},
		{name: "a node port of a type that has none",
			in:       func(o *corev1.Service) { o.Spec.Ports[0].NodePort = 30080 },
			problems: []string{"spec.ports[0].nodePort: 30080 stays closed, the Service's type is ClusterIP: set spec.type to NodePort or LoadBalancer"}},
		{name: "a load balancer without node ports",
			in: func(o *corev1.Service) {
				o.Spec.Type, o.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeLoadBalancer, ptr.To(false)
				o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
			},
			want: func(s *model.Service) { s.LoadBalancerIPs = addrs("203.0.113.1") }},
	})
}

func TestServicePolicies(t *testing.T) {
	local, cluster, odd := corev1.ServiceInternalTrafficPolicyLocal, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicy("local")
	runServiceRows(t, []serviceRow{
		{name: "internal Local",
			in:   func(o *corev1.Service) { o.Spec.InternalTrafficPolicy = &local },
			want: func(s *model.Service) { s.InternalPolicy = model.PolicyLocal }},
		{name: "both Cluster",
			in: func(o *corev1.Service) {
				o.Spec.InternalTrafficPolicy, o.Spec.ExternalTrafficPolicy = &cluster, "Cluster"
			}},
		{name: "external Local",
			in:   func(o *corev1.Service) { o.Spec.ExternalTrafficPolicy = "Local"; o.Spec.HealthCheckNodePort = 30000 },
			want: func(s *model.Service) { s.ExternalPolicy = model.PolicyLocal }},
		{name: "unknown",
			in: func(o *corev1.Service) { o.Spec.InternalTrafficPolicy, o.Spec.ExternalTrafficPolicy = &odd, "Near" },
			problems: []string{`spec.internalTrafficPolicy: "local" is unknown, Cluster is assumed: use Cluster or Local`,
				`spec.externalTrafficPolicy: "Near" is unknown, Cluster is assumed: use Cluster or Local`}},
		{name: "a health check node port",
			in: func(o *corev1.Service) {
				o.Spec.Type, o.Spec.ExternalTrafficPolicy, o.Spec.HealthCheckNodePort = "LoadBalancer", "Local", 30000
			},
			want: func(s *model.Service) { s.ExternalPolicy, s.HealthCheckNodePort = model.PolicyLocal, 30000 }},
		{name: "a health check node port without policy Local",
			in: func(o *corev1.Service) { o.Spec.Type, o.Spec.HealthCheckNodePort = "LoadBalancer", 30000 }},
		{name: "a health check node port out of range",
			in: func(o *corev1.Service) {
				o.Spec.Type, o.Spec.ExternalTrafficPolicy, o.Spec.HealthCheckNodePort = "LoadBalancer", "Local", 70000
			},
			want:     func(s *model.Service) { s.ExternalPolicy = model.PolicyLocal },
			problems: []string{"spec.healthCheckNodePort: 70000 is not a port number: use 1 to 65535"}},
		{name: "age",
			in: func(o *corev1.Service) {
				o.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)))
			},
			want: func(s *model.Service) { s.Created = time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC) }},
	})
}

func TestServiceAffinity(t *testing.T) {
	affinity := func(kind corev1.ServiceAffinity, seconds *int32) func(*corev1.Service) {
		return func(o *corev1.Service) {
			o.Spec.SessionAffinity = kind
			o.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: seconds}}
		}
	}
	lasts := func(d time.Duration) func(*model.Service) { return func(s *model.Service) { s.Affinity = d } }
	runServiceRows(t, []serviceRow{
		{name: "none", in: affinity("None", ptr.To[int32](5))},
		{name: "unsaid", in: affinity("", ptr.To[int32](5))},
		{name: "no time", in: affinity("ClientIP", nil), want: lasts(3 * time.Hour)},
		{name: "no configuration", in: func(o *corev1.Service) { o.Spec.SessionAffinity = "ClientIP" }, want: lasts(3 * time.Hour)},
		{name: "least", in: affinity("ClientIP", ptr.To[int32](1)), want: lasts(time.Second)},
		{name: "most", in: affinity("ClientIP", ptr.To[int32](86400)), want: lasts(24 * time.Hour)},
		{name: "too little", in: affinity("ClientIP", ptr.To[int32](0)), want: lasts(3 * time.Hour), problems: []string{
			"spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is out of range, 10800 is assumed: use 1 to 86400"}},
		{name: "too much", in: affinity("ClientIP", ptr.To[int32](86401)), want: lasts(3 * time.Hour), problems: []string{
			"spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is out of range, 10800 is assumed: use 1 to 86400"}},
		{name: "unknown", in: affinity("Cookie", nil), problems: []string{
			`spec.sessionAffinity: "Cookie" is unknown, None is assumed: use ClientIP or None`}},
	})
}

func TestServiceSourceRanges(t *testing.T) {
	given := func(list ...string) func(*corev1.Service) {
		return func(o *corev1.Service) {
			o.Spec.LoadBalancerSourceRanges = list
			o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}, {IP: "2001:db8::1"}}
		}
	}
	want := func(vips []string, list ...string) func(*model.Service) {
		return func(s *model.Service) { s.LoadBalancerIPs, s.SourceRanges = addrs(vips...), ranges(list...) }
	}
	both := []string{"203.0.113.1", "2001:db8::1"}
	runServiceRows(t, []serviceRow{
		{name: "none", in: given(), want: want(both)},
		{name: "both families", in: given("10.0.0.0/8", " 2001:db8::/32 ", "10.0.0.0/8"), want: want(both, "10.0.0.0/8", "2001:db8::/32")},
		{name: "one family, the other is left to the ruleset", in: given("10.0.0.0/8"), want: want(both, "10.0.0.0/8")},
		{name: "everyone", in: given("10.0.0.0/8", "0.0.0.0/0"), want: want(both)},
		{name: "everyone of both", in: given("::/0", "10.0.0.0/8", "0.0.0.0/0"), want: want(both)},
		{name: "everyone of one, some of the other", in: given("10.0.0.0/8", " 0.0.0.0/0 ", "2001:db8::/32"),
			want: want(both, "0.0.0.0/0", "2001:db8::/32")},
		{name: "one of two can't be read", in: given("10.0.0.0/8", "2001:db8::/129", "2001:db8::/64"), want: want(both, "10.0.0.0/8", "2001:db8::/64"),
			problems: []string{`spec.loadBalancerSourceRanges[1]: "2001:db8::/129" is not an address range: write it as address/length`}},
		{name: "the only one of a family can't be read", in: given("10.0.0.0/33", "2001:db8::/64"), want: want([]string{"2001:db8::1"}, "2001:db8::/64"),
			problems: []string{`spec.loadBalancerSourceRanges[0]: "10.0.0.0/33" is not an address range: write it as address/length`,
				"spec.loadBalancerSourceRanges: no range protects 203.0.113.1, which is closed until those that can't be read are corrected"}},
		{name: "none can be read", in: given("office"), want: want(nil),
			problems: []string{`spec.loadBalancerSourceRanges[0]: "office" is not an address range: write it as address/length`,
				"spec.loadBalancerSourceRanges: no range protects 203.0.113.1, which is closed until those that can't be read are corrected",
				"spec.loadBalancerSourceRanges: no range protects 2001:db8::1, which is closed until those that can't be read are corrected"}},
	})
}
