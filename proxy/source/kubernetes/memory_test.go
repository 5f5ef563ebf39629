package kubernetes

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// counter is a sink that counts.
type counter struct {
	services, slices int
	synced           chan struct{}
}

func (c *counter) Apply(u model.Update) {
	c.services += len(u.Services)
	c.slices += len(u.Slices)
}

func (c *counter) Synced() { close(c.synced) }

// BenchmarkSync watches a cluster of 10,000 Services with ten endpoints each, and
// tells what stays in memory of it.
func BenchmarkSync(b *testing.B) {
	s := newAPIServer(b)
	for i := range 10000 {
		name := fmt.Sprintf("service-%d", i)
		s.put(svc(name, fmt.Sprintf("10.96.%d.%d", i/256, i%256)))
		slice := endpoints(name)
		for e := range 10 {
			n := 10*i + e
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+n>>16, n>>8&255, n&255)},
				NodeName:  ptr.To(fmt.Sprintf("node-%d", n%1000)),
				Hints:     &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: fmt.Sprintf("zone-%d", n%3)}}},
			})
		}
		s.put(slice)
	}
	for b.Loop() {
		before := heap()
		c, err := newCluster(s.config(), Options{NodeName: "node-1"})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		sink := &counter{synced: make(chan struct{})}
		start := time.Now()
		ended := make(chan error)
		go func() { ended <- c.Run(ctx, sink) }()
		<-sink.synced
		b.ReportMetric(time.Since(start).Seconds(), "s/sync")
		if sink.services != 10000 || sink.slices != 10000 {
			b.Fatalf("%d services, %d slices", sink.services, sink.slices)
		}
		b.ReportMetric(float64(int64(heap())-int64(before))/(1<<20), "MiB-heap")
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
