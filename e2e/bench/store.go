package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
)

// store writes objects where the API server keeps them: into etcd, encoded as it
// does. Through its API the allocator of cluster IPs looks at all addresses for each
// one that it gives: at 45,000 Services that is a quarter of an hour. Watchers and
// lists get the same bytes either way.
type store struct {
	etcd  *clientv3.Client
	codec runtime.Encoder
}

// objectsPerWrite bounds a transaction of etcd, which takes 128 operations and 1.5 MB.
const objectsPerWrite = 40

func newStore(url string) (*store, error) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, DialTimeout: 10 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("reach etcd: %w", err)
	}
	return &store{etcd: etcd, codec: protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)}, nil
}

func (s *store) close() error { return s.etcd.Close() }

// write stores a Service each with its slice and its address.
func (s *store) write(ctx context.Context, services []*Service) error {
	const atOnce = 4
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunks := (len(services) + objectsPerWrite - 1) / objectsPerWrite
	workqueue.ParallelizeUntil(ctx, atOnce, chunks, func(i int) {
		chunk := services[i*objectsPerWrite : min((i+1)*objectsPerWrite, len(services))]
		if err := s.writeChunk(ctx, chunk); err != nil {
			cancel(err)
		}
	})
	return context.Cause(ctx)
}

// writeChunk writes addresses before Services before slices, as the API server would.
func (s *store) writeChunk(ctx context.Context, services []*Service) error {
	for _, object := range []func(*Service) (string, runtime.Object){storedAddress, storedService, storedSlice} {
		var ops []clientv3.Op
		for _, svc := range services {
			op, err := s.put(object(svc))
			if err != nil {
				return err
			}
			ops = append(ops, op)
		}
		if _, err := s.etcd.Txn(ctx).Then(ops...).Commit(); err != nil {
			return fmt.Errorf("write to etcd: %w", err)
		}
	}
	return nil
}

// put is the write of one object, in protobuf with its kind.
func (s *store) put(key string, o runtime.Object) (clientv3.Op, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("encode %s: %w", key, err)
	}
	o.GetObjectKind().SetGroupVersionKind(kinds[0])
	var b bytes.Buffer
	if err := s.codec.Encode(o, &b); err != nil {
		return clientv3.Op{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return clientv3.OpPut("/registry/"+key, b.String()), nil
}

// storedService is the Service with what the API server fills in, and its key.
func storedService(s *Service) (string, runtime.Object) {
	o := s.object()
	s.identify(&o.ObjectMeta, 1)
	single, cluster := corev1.IPFamilyPolicySingleStack, corev1.ServiceInternalTrafficPolicyCluster
	o.Spec.Type = corev1.ServiceTypeClusterIP
	o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
	o.Spec.IPFamilies, o.Spec.IPFamilyPolicy = []corev1.IPFamily{corev1.IPv4Protocol}, &single
	o.Spec.InternalTrafficPolicy = &cluster
	if o.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		timeout := corev1.DefaultClientIPServiceAffinitySeconds
		o.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &timeout}}
	} else {
		o.Spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	return "services/specs/" + namespace + "/" + s.name, o
}

// storedSlice is the slice of the Service's endpoints, and its key.
func storedSlice(s *Service) (string, runtime.Object) {
	o := s.slice()
	s.identify(&o.ObjectMeta, 2)
	o.Generation = 1
	_, service := storedService(s)
	owner := metav1.NewControllerRef(service.(*corev1.Service), corev1.SchemeGroupVersion.WithKind("Service"))
	o.OwnerReferences = []metav1.OwnerReference{*owner}
	return "endpointslices/" + namespace + "/" + o.Name, o
}

// storedAddress is what the allocator keeps of a cluster IP, and its key. The API
// server would take its absence for damage, and repair it.
func storedAddress(s *Service) (string, runtime.Object) {
	o := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: s.vip.Addr().String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(corev1.IPv4Protocol),
				networkingv1.LabelManagedBy:       "ipallocator.k8s.io",
			},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: namespace, Name: s.name,
		}},
	}
	s.identify(&o.ObjectMeta, 3)
	return "ipaddresses/" + o.Name, o
}

// identify gives an object of the Service what every stored object has.
func (s *Service) identify(meta *metav1.ObjectMeta, kind int) {
	meta.UID = types.UID(fmt.Sprintf("%d0000000-0000-4000-8000-0000%08x", kind, s.vip.Addr().As4()))
	meta.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
}
