// Package kubernetes is the source that watches a cluster's API server: Services,
// EndpointSlices, the own Node and ServiceCIDRs.
//
// Objects are converted as they arrive and none is kept: what is in memory is the
// model. Every list, at the start and after whatever interruption, is compared
// with what was delivered before, so that the proxy hears of differences alone:
// nothing is ever taken away to be put back. While the API server is away nothing
// changes.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Options say for whom the cluster is watched.
type Options struct {
	// NodeName is the name of the proxy's own Node, the only one it watches.
	NodeName string

	// ServiceProxyName is the value of the label
	// service.kubernetes.io/service-proxy-name of Services to take; empty takes
	// those without the label.
	ServiceProxyName string

	Log logr.Logger
}

// New makes a source of the cluster that config leads to. It needs the permission
// to list and watch services, endpointslices.discovery.k8s.io, nodes and
// servicecidrs.networking.k8s.io; without the last, or in a cluster that has none,
// it works and tells of no ServiceCIDRs.
func New(config *rest.Config, opts Options) (source.Source, error) {
	return newCluster(config, opts)
}

// cluster is the source.
type cluster struct {
	opts      Options
	resources []*resource
	patience  patience
	name      name
}

// name is the proxy's, which may change.
type name struct {
	mu      sync.Mutex
	value   string
	changed context.CancelFunc // ends the list and watch of Services under the old one
	waiting []chan struct{}    // to be closed when those of the value are delivered
}

var _ source.Renamer = (*cluster)(nil)

// SetServiceProxyName implements [source.Renamer]: Services are listed anew, and
// what differs is delivered when the list is there.
func (c *cluster) SetServiceProxyName(value string) <-chan struct{} {
	done := make(chan struct{})
	c.name.mu.Lock()
	defer c.name.mu.Unlock()
	if c.name.value == value && len(c.name.waiting) == 0 {
		close(done)
		return done
	}
	c.name.waiting = append(c.name.waiting, done)
	if c.name.value != value && c.name.changed != nil {
		c.name.changed()
	}
	c.name.value = value
	return done
}

// current is the name, and a context that ends when it changes.
func (n *name) current(ctx context.Context) (string, context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, n.changed = context.WithCancel(ctx)
	return n.value, ctx
}

// delivered says that all Services of a name are.
func (n *name) delivered(value string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.value != value {
		return
	}
	for _, done := range n.waiting {
		close(done)
	}
	n.waiting = nil
}

// patience is for how long to wait for what.
type patience struct {
	first, last time.Duration // before another try, doubled from the first to the last
	absent      time.Duration // before a kind is looked for again that the API server does not have
}

// usual is sooner than client-go's 30 s to 60 s at most: after an outage of the API
// server each node is up to date within 20 s, and 5,000 nodes make some thousand
// requests per second of it, most to resume a watch.
var usual = patience{first: 100 * time.Millisecond, last: 10 * time.Second, absent: 30 * time.Second}

func newCluster(config *rest.Config, opts Options) (*cluster, error) {
	if opts.NodeName == "" {
		return nil, errors.New("watch a cluster: the node's name is empty: give it")
	}
	resources, err := resources(config, opts)
	if err != nil {
		return nil, fmt.Errorf("watch a cluster: %w", err)
	}
	return &cluster{opts: opts, resources: resources, patience: usual, name: name{value: opts.ServiceProxyName}}, nil
}

// Run implements [source.Source].
func (c *cluster) Run(ctx context.Context, sink source.Sink) error {
	ctx = klog.NewContext(ctx, c.opts.Log)
	var all sync.WaitGroup
	defer all.Wait()
	var follows []*follow
	for _, r := range c.resources {
		f := newFollow(r, c, sink)
		follows = append(follows, f)
		all.Go(func() { f.run(ctx) })
	}
	for _, f := range follows {
		select {
		case <-f.settled:
		case <-ctx.Done():
			return nil
		}
	}
	sink.Synced()
	return nil
}
