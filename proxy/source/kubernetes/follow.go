package kubernetes

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// follow lists and watches one resource until the context ends. Everything in it
// happens in one goroutine.
type follow struct {
	*resource
	patience patience
	name     *name  // of the proxy, for Services; nil for others
	under    string // which one they are listed under
	store    *store
	delay    wait.DelayFunc // before another try
	outage   outage
	settled  chan struct{} // closed when the first list is delivered, or there will be none for now
}

func newFollow(r *resource, c *cluster, sink source.Sink) *follow {
	f := &follow{
		resource: r,
		patience: c.patience,
		delay:    c.patience.backoff().DelayWithReset(clock.RealClock{}, 4*c.patience.last),
		outage:   outage{log: c.opts.Log.WithValues("resource", r.GroupResource().String())},
		settled:  make(chan struct{}),
	}
	f.store = newStore(c.opts.ServiceProxyName, sink, f.replaced)
	f.store.cidrs = r.Resource == "servicecidrs"
	if r.Resource == "services" {
		f.name = &c.name
	}
	return f
}

func (p patience) backoff() *wait.Backoff {
	return &wait.Backoff{Duration: p.first, Cap: p.last, Steps: 64, Factor: 2, Jitter: 1}
}

// run follows the resource; Services under one name after the other.
func (f *follow) run(ctx context.Context) {
	for ctx.Err() == nil {
		if f.name == nil {
			f.follow(ctx)
			continue
		}
		var current context.Context
		f.under, current = f.name.current(ctx)
		f.store.convert = convert.New(f.under)
		f.labelSelector = f.store.convert.ServiceLabelSelector()
		f.follow(current)
	}
}

// follow lists and watches until the context ends.
func (f *follow) follow(ctx context.Context) {
	lists := &cache.ListWatch{ListWithContextFunc: f.list, WatchFuncWithContext: f.watch}
	reflector := cache.NewReflectorWithOptions(lists, f.object, f.store, cache.ReflectorOptions{
		Name:            f.Resource,
		TypeDescription: f.Resource,
		Logger:          &f.outage.log,
		Backoff:         f.patience.backoff(),
	})
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(ctx)
		if err == nil || ctx.Err() != nil {
			pause(ctx, f.delay())
			continue
		}
		pause(ctx, f.failed(ctx, err))
	}
}

// failed deals with an error, and returns how long to wait before another try.
func (f *follow) failed(ctx context.Context, err error) time.Duration {
	if f.optional && apierrors.IsNotFound(err) && isAbsent(ctx, f.resource) {
		f.outage.log.V(1).Info("The API server does not have this resource")
		_ = f.store.Replace(nil, "") // fails on objects alone
		return f.patience.absent
	}
	f.outage.report(err)
	if f.optional && apierrors.IsForbidden(err) {
		f.settle()
	}
	return f.delay()
}

// replaced is called after each list.
func (f *follow) replaced() {
	f.outage.end()
	f.settle()
	if f.name != nil {
		f.name.delivered(f.under)
	}
}

func (f *follow) settle() {
	select {
	case <-f.settled:
	default:
		close(f.settled)
	}
}

// list implements the reflector's list; errors are dealt with where it ends.
func (f *follow) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	f.sel(&options)
	return f.client.Get().Resource(f.Resource).VersionedParams(&options, metav1.ParameterCodec).Do(ctx).Get()
}

// watch implements the reflector's watch. It tries again by itself where the
// reflector would: the reflector's waiting does not end with the context.
func (f *follow) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	f.sel(&options)
	options.Watch = true
	for {
		w, err := f.client.Get().Resource(f.Resource).VersionedParams(&options, metav1.ParameterCodec).Watch(ctx)
		if err == nil {
			f.outage.end()
			return w, nil
		}
		if !utilnet.IsConnectionRefused(err) && !apierrors.IsTooManyRequests(err) {
			return nil, err
		}
		f.outage.report(err)
		if pause(ctx, f.delay()); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// sel narrows a list or watch to what the proxy may take.
func (f *follow) sel(options *metav1.ListOptions) {
	options.LabelSelector, options.FieldSelector = f.labelSelector, f.fieldSelector
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// outage tells of errors once each while they last, and of their end.
type outage struct {
	log  logr.Logger
	last string // the error it told of; empty while all is well
}

func (o *outage) report(err error) {
	text := err.Error()
	if text == o.last {
		o.log.V(1).Info("Still failing", "error", text)
		return
	}
	o.last = text
	switch {
	case apierrors.IsForbidden(err):
		o.log.Error(err, "A permission is missing: let the proxy's service account list and watch this resource in the whole cluster")
	case apierrors.IsUnauthorized(err):
		o.log.Error(err, "The API server does not know the proxy: check its token or certificate")
	default:
		o.log.Error(err, "Can't list or watch; what was delivered stays in force")
	}
}

func (o *outage) end() {
	if o.last != "" {
		o.last = ""
		o.log.Info("Listing and watching again")
	}
}
