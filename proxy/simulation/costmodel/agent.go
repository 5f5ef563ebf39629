package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// agent is the agent's loop, fed by this program.
type agent struct {
	converter *convert.Converter
	ledger    *source.Ledger
	sink      source.Sink
	begun     chan struct{}
	cancel    context.CancelFunc
	ended     chan error
}

// start runs the loop on a dataplane.
func start(dp proxy.Dataplane) *agent {
	config := proxy.DefaultConfig()
	config.NodeName = "worker-0"
	config.Coalesce = 0
	a := &agent{
		converter: convert.New(""), ledger: source.NewLedger(),
		begun: make(chan struct{}), ended: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(background)
	a.cancel = cancel
	go func() { a.ended <- proxy.New(config, dp, logr.Discard(), a).Run(ctx) }()
	<-a.begun
	return a
}

// Run implements source.Source: it hands the sink to this program.
func (a *agent) Run(ctx context.Context, sink source.Sink) error {
	a.sink = sink
	close(a.begun)
	<-ctx.Done()
	return nil
}

func (a *agent) stop() error {
	a.cancel()
	return <-a.ended
}

func (a *agent) synced() { a.sink.Synced() }

// list delivers all objects, as a watch would, and returns their bytes.
func (a *agent) list(s size) (bytes int) {
	for i := range s.services {
		svc, slice := serviceObject(i), sliceObject(s, i, 0)
		bytes += svc.Size() + slice.Size()
		a.deliver(svc)
		a.deliver(slice)
	}
	return bytes
}

// change replaces an endpoint of the n-th Service in an order that goes through
// the whole cluster, and returns the bytes of the object.
func (a *agent) change(s size, n int) int {
	const stride = 7919 // a prime: it meets each Service
	slice := sliceObject(s, n*stride%s.services, 1+n)
	a.deliver(slice)
	return slice.Size()
}

func (a *agent) deliver(object metav1.Object) {
	converted, ok := a.converter.Object(object)
	if !ok {
		panic(fmt.Sprintf("costmodel: %T is not converted", object))
	}
	a.ledger.Set(converted)
	if update, any := a.ledger.Take(); any {
		a.sink.Apply(update)
	}
}

func serviceName(i int) string { return fmt.Sprintf("service-%06d", i) }

func serviceObject(i int) *corev1.Service {
	ip := netip.AddrFrom4([4]byte{10, 96 + byte(i>>16), byte(i >> 8), byte(i)}).String()
	return &corev1.Service{
		ObjectMeta: meta(serviceName(i), i, map[string]string{"app.kubernetes.io/name": serviceName(i)}),
		Spec: corev1.ServiceSpec{
			ClusterIP: ip, ClusterIPs: []string{ip}, Type: corev1.ServiceTypeClusterIP,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, SessionAffinity: corev1.ServiceAffinityNone,
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
}

// sliceObject is the i-th Service's slice. A version but 0 has one other endpoint.
func sliceObject(s size, i, version int) *discoveryv1.EndpointSlice {
	protocol, port, name, yes, no := corev1.ProtocolTCP, int32(8080), "http", true, false
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: meta(serviceName(i)+"-x7k2p", i, map[string]string{
			discoveryv1.LabelServiceName: serviceName(i), discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}),
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
	}
	for e := range s.endpoints {
		n := i*s.endpoints + e
		address := netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
		if version > 0 && e == 0 {
			address = netip.AddrFrom4([4]byte{12, byte(version >> 16), byte(version >> 8), byte(version)})
		}
		node, zone := fmt.Sprintf("worker-%d", n%nodes), fmt.Sprintf("zone-%d", n%3)
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{address.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			NodeName:   &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: o.Namespace, Name: fmt.Sprintf("%s-7d9c5b8f6d-%05d", serviceName(i), n%100000), UID: uid(n),
			},
		})
	}
	return o
}

func meta(name string, i int, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: fmt.Sprintf("team-%d", i%500), Name: name, UID: uid(i), ResourceVersion: "123456789", Labels: labels,
		CreationTimestamp: metav1.Unix(1_700_000_000+int64(i), 0),
	}
}

func uid(n int) types.UID { return types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n)) }

// counter is a dataplane that counts, and holds nothing.
type counter struct {
	mu   sync.Mutex
	sum  counts
	done chan struct{} // told of each commit
}

type counts struct{ transactions, elements int }

// Commit implements proxy.Dataplane.
func (c *counter) Commit(tx *nft.Transaction) (kernel.Result, error) {
	c.mu.Lock()
	c.sum.transactions++
	c.sum.elements += tx.ElementCount()
	generation := uint32(c.sum.transactions)
	c.mu.Unlock()
	select {
	case c.done <- struct{}{}:
	default:
	}
	return kernel.Result{Generation: generation, Operations: tx.ElementCount()}, nil
}

// ReadStructure implements proxy.Dataplane: there is no table.
func (c *counter) ReadStructure(string, func(string) bool) (kernel.Snapshot, error) {
	return kernel.Snapshot{}, nil
}

// ReadSet implements proxy.Dataplane.
func (c *counter) ReadSet(string, *nft.Set, func(*nft.Element) error) (uint32, error) { return 0, nil }

func (c *counter) total() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

// awaitElements waits until that many have been written, and a moment longer.
func (c *counter) awaitElements(n int) {
	for c.total().elements < n {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-c.done:
	default:
	}
}

// awaitCommit waits for the next commit.
func (c *counter) awaitCommit() { <-c.done }
