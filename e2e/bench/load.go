package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
)

// namespace holds all objects: it exists.
const namespace = "default"

// servicePort is where all Services are.
const servicePort = 80

// Service is one Service of the benchmark with the endpoints that it has now.
type Service struct {
	name     string
	vip      netip.AddrPort
	affinity bool
	backends []netip.Addr
}

// vip is the n-th ClusterIP. The first ones are the API server's choice.
func vip(n int) netip.AddrPort {
	const perBlock = 250
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(1 + n/perBlock), byte(1 + n%perBlock)}), servicePort)
}

// Services are those of a world: the crowd is as many as the scale says, the
// others are there for measurements.
type Services struct {
	crowd []*Service
	// lone has one endpoint, bystander is never changed, sticky has session
	// affinity and 100 endpoints, idle is the same without, restart has one endpoint.
	lone, bystander, sticky, wide, restart *Service
}

func (s *Services) all() []*Service {
	return append([]*Service{s.lone, s.bystander, s.sticky, s.wide, s.restart}, s.crowd...)
}

// affinityEndpoints is how many endpoints the Services of the affinity
// measurement have.
const affinityEndpoints = 100

// newServices lays out the Services of a scale.
func newServices(scale Scale) *Services {
	number, address := 0, 0
	add := func(name string, endpoints int) *Service {
		s := &Service{name: name, vip: vip(number)}
		number++
		for range endpoints {
			s.backends = append(s.backends, backendAddr(address))
			address++
		}
		return s
	}
	s := &Services{
		lone:      add("lone", 1),
		bystander: add("bystander", 10),
		sticky:    add("sticky", affinityEndpoints),
		wide:      add("wide", affinityEndpoints),
		restart:   add("restart", 1),
	}
	s.sticky.affinity = true
	for i := range scale.Services {
		s.crowd = append(s.crowd, add(fmt.Sprintf("crowd-%05d", i), scale.Endpoints))
	}
	return s
}

// load stores the objects of all Services, and returns how long it took until the
// API server lists them.
func (w *World) load(ctx context.Context, services []*Service) (took time.Duration, err error) {
	start := time.Now()
	store, err := newStore(w.controlPlane.Etcd())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	if err := store.write(ctx, services); err != nil {
		return 0, fmt.Errorf("load objects: %w", err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		cached := metav1.ListOptions{ResourceVersion: "0"}
		slices, err := w.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, cached)
		return err == nil && len(slices.Items) >= len(services), err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the objects that were loaded: %w", err)
	}
	return time.Since(start), nil
}

func (s *Service) object() *corev1.Service {
	o := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: s.name,
			Labels: map[string]string{"app.kubernetes.io/name": s.name, "app.kubernetes.io/managed-by": "Helm"},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: s.vip.Addr().String(),
			Ports: []corev1.ServicePort{{
				Name: "http", Protocol: corev1.ProtocolTCP, Port: servicePort, TargetPort: intstr.FromInt32(backendPort),
			}},
		},
	}
	if s.affinity {
		o.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	return o
}

// slice is the EndpointSlice as the endpoint-slice controller writes it.
func (s *Service) slice() *discoveryv1.EndpointSlice {
	protocol, port, name, yes, no := corev1.ProtocolTCP, int32(backendPort), "http", true, false
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: s.name + "-x7k2p",
			Labels: map[string]string{
				discoveryv1.LabelServiceName:   s.name,
				discoveryv1.LabelManagedBy:     "endpointslice-controller.k8s.io",
				"app.kubernetes.io/name":       s.name,
				"app.kubernetes.io/managed-by": "Helm",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
	}
	for _, addr := range s.backends {
		b := addr.As4()
		node, zone := fmt.Sprintf("worker-%d-%d", b[1], b[2]), "zone-"+string('a'+b[2]%3)
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{addr.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			NodeName:   &node,
			Zone:       &zone,
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: namespace, Name: fmt.Sprintf("%s-%d-%d-%d", s.name, b[1], b[2], b[3]),
				UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-0000%08x", b)),
			},
		})
	}
	return o
}

// update writes the endpoints that the Service has now, and returns when the API
// had acknowledged it.
func (w *World) update(ctx context.Context, s *Service) (time.Time, error) {
	if _, err := w.client.DiscoveryV1().EndpointSlices(namespace).Update(ctx, s.slice(), metav1.UpdateOptions{}); err != nil {
		return time.Time{}, fmt.Errorf("update endpoints of %s: %w", s.name, err)
	}
	return time.Now(), nil
}
