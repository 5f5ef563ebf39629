package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// object is an API object as JSON has it.
type object = map[string]any

// endpoint is a backend with an address in both families.
type endpoint struct {
	host4, host6 string
	node         string
	state        int // 0 ready; 1 serving and terminating; 2 not ready; 3 terminating
}

// service is a Service with its EndpointSlices: one manifest.
type service struct {
	name      string
	number    int // decides addresses and node ports
	kind      string
	created   int // seconds
	affinity  int // seconds; 0: none
	local     bool
	ranges    []string
	nodePort  bool
	vip       bool
	port      int
	target    int
	endpoints []endpoint
}

// The services that traffic goes to.
const (
	webNumber    = 10
	stickyNumber = 20
	targetPort   = 8080
)

func (s *service) clusterIPs() []string {
	return []string{fmt.Sprintf("10.96.%d.%d", s.number/250, s.number%250+1), fmt.Sprintf("fd00:10:96::%x", s.number+1)}
}

func (s *service) vips() []string {
	return []string{fmt.Sprintf("203.0.%d.%d", 113+s.number/250, s.number%250+1), fmt.Sprintf("2001:db8:113::%x", s.number+1)}
}

// nodePortOf is the node port of a service's n-th port.
func (s *service) nodePortOf(n int) int { return 30000 + 2*s.number + n }

// The ports of every service.
var (
	protocolNames = []string{"TCP", "UDP"}
	portNames     = []string{"http", "dns"}
)

func (s *service) object() object {
	var ports []object
	for i, protocol := range protocolNames {
		p := object{"name": portNames[i], "protocol": protocol, "port": s.port}
		if s.nodePort {
			p["nodePort"] = s.nodePortOf(i)
		}
		ports = append(ports, p)
	}
	ips := s.clusterIPs()
	spec := object{
		"type": s.kind, "clusterIP": ips[0], "clusterIPs": ips, "ports": ports,
		"ipFamilies": []string{"IPv4", "IPv6"}, "ipFamilyPolicy": "RequireDualStack",
	}
	if s.affinity > 0 {
		spec["sessionAffinity"] = "ClientIP"
		spec["sessionAffinityConfig"] = object{"clientIP": object{"timeoutSeconds": s.affinity}}
	}
	if s.local {
		spec["externalTrafficPolicy"] = "Local"
	}
	if len(s.ranges) > 0 {
		spec["loadBalancerSourceRanges"] = s.ranges
	}
	svc := object{"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata": object{
		"namespace": "chaos", "name": s.name,
		"creationTimestamp": fmt.Sprintf("2026-01-01T%02d:%02d:%02dZ", s.created/3600%24, s.created/60%60, s.created%60),
	}}
	if s.vip {
		var ingress []object
		for _, ip := range s.vips() {
			ingress = append(ingress, object{"ip": ip})
		}
		svc["status"] = object{"loadBalancer": object{"ingress": ingress}}
	}
	return svc
}

func (s *service) slice(family string) object {
	var endpoints []object
	for _, e := range s.endpoints {
		address := e.host4
		if family == "IPv6" {
			address = e.host6
		}
		endpoints = append(endpoints, object{"addresses": []string{address}, "nodeName": e.node, "conditions": object{
			"ready": e.state == 0, "serving": e.state < 2, "terminating": e.state == 1 || e.state == 3,
		}})
	}
	var ports []object
	for i, protocol := range protocolNames {
		ports = append(ports, object{"name": portNames[i], "protocol": protocol, "port": s.target})
	}
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
		"metadata":  object{"namespace": "chaos", "name": s.name + "-" + family[2:], "labels": object{"kubernetes.io/service-name": s.name}},
		"ports":     ports,
		"endpoints": endpoints,
	}
}

// objects are the Service and its slices.
func (s *service) objects() []object { return []object{s.object(), s.slice("IPv4"), s.slice("IPv6")} }

// manifest is the service's file.
func (s *service) manifest() []byte { return list(s.objects()...) }

func list(items ...object) []byte {
	text, err := json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		panic(err)
	}
	return text
}

// nodeObjects are the node and the ranges of cluster IPs.
func nodeObjects(zone string) []object {
	node := object{"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": "node-a", "labels": object{"topology.kubernetes.io/zone": zone}},
		"spec":     object{"podCIDR": "10.244.0.0/24", "podCIDRs": []string{"10.244.0.0/24", "fd00:10:244::/64"}},
		"status": object{"addresses": []object{
			{"type": "InternalIP", "address": "192.0.2.10"}, {"type": "InternalIP", "address": "2001:db8:2::10"},
		}},
	}
	cidr := object{"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": object{"name": "kubernetes"},
		"spec": object{"cidrs": []string{"10.96.0.0/16", "fd00:10:96::/112"}}}
	return []object{node, cidr}
}

// The pods that serve. The ghost is one that never does: nobody may be sent to it.
var (
	servers = []endpoint{
		{"10.244.0.11", "fd00:10:244::11", "node-a", 0}, {"10.244.0.12", "fd00:10:244::12", "node-a", 0},
		{"10.244.1.11", "fd00:10:244:1::11", "node-b", 0}, {"10.244.1.12", "fd00:10:244:1::12", "node-b", 0},
	}
	ghost = endpoint{"10.244.0.250", "fd00:10:244::250", "node-a", 2}
)

// web is the service that most traffic goes to, with at least one backend that serves.
func web(r *rand.Rand) *service {
	s := &service{
		name: "web", number: webNumber, kind: "LoadBalancer", nodePort: true, vip: true, port: 80, target: targetPort,
		endpoints: []endpoint{ghost},
	}
	for _, i := range r.Perm(len(servers))[:1+r.IntN(len(servers))] {
		s.endpoints = append(s.endpoints, servers[i])
	}
	// Others than the first server may be on their way out.
	for i := 2; i < len(s.endpoints); i++ {
		if r.IntN(4) == 0 {
			s.endpoints[i].state = 1 + r.IntN(3)
		}
	}
	return s
}

// sticky keeps clients at their backends.
func sticky() *service {
	return &service{
		name: "sticky", number: stickyNumber, kind: "ClusterIP", port: 80, target: targetPort, affinity: 3600,
		endpoints: append([]endpoint{ghost}, servers...),
	}
}

// other is a service that nobody connects to, as chance makes it.
func other(r *rand.Rand, name string, number int) *service {
	s := &service{
		name: name, number: number, created: r.IntN(3600), kind: "ClusterIP",
		port: 80 + r.IntN(3), target: 8000 + r.IntN(3),
	}
	switch r.IntN(4) {
	case 0:
		s.kind, s.nodePort = "NodePort", true
	case 1:
		s.kind, s.nodePort, s.vip = "LoadBalancer", r.IntN(2) == 0, true
		if r.IntN(2) == 0 {
			s.ranges = []string{"198.51.100.0/24", "2001:db8:100::/64"}
		}
	}
	s.local = s.kind != "ClusterIP" && r.IntN(3) == 0
	if r.IntN(3) == 0 {
		s.affinity = []int{60, 600, 10800}[r.IntN(3)]
	}
	s.reshuffle(r)
	return s
}

// reshuffle gives the service other endpoints: none to 12.
func (s *service) reshuffle(r *rand.Rand) {
	s.endpoints = nil
	for n := r.IntN(13); len(s.endpoints) < n; {
		e := endpoint{node: "node-b", state: max(0, r.IntN(8)-4)}
		subnet, host := 2+r.IntN(3), 2+len(s.endpoints)*19+r.IntN(19)
		if r.IntN(3) == 0 {
			e.node, subnet = "node-a", 0
		}
		e.host4, e.host6 = fmt.Sprintf("10.244.%d.%d", subnet, host), fmt.Sprintf("fd00:10:244:%d::%x", subnet, host)
		s.endpoints = append(s.endpoints, e)
	}
}
