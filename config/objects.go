package config

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

// Watch follows the ProxyConfigs of a cluster, until the context ends. Where the
// API server does not have them yet it is asked again now and then.
func Watch(client dynamic.Interface, log logr.Logger) func(context.Context, func([]Object)) error {
	return watchWith(client, log, pauses{absent: 30 * time.Second, failed: 2 * time.Second})
}

// pauses are how long to wait, and as much again at random since thousands of agents
// ask: before a kind is asked for that the API server does not have, and after
// another failure.
type pauses struct{ absent, failed time.Duration }

func watchWith(client dynamic.Interface, log logr.Logger, p pauses) func(context.Context, func([]Object)) error {
	return func(ctx context.Context, deliver func([]Object)) error {
		w := &watcher{
			client: client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ProxyConfigs)),
			log:    log, deliver: deliver, pauses: p, objects: map[types.UID]Object{},
		}
		w.run(ctx)
		return nil
	}
}

// watcher is the store of a reflector. All is done in one goroutine.
type watcher struct {
	client  dynamic.ResourceInterface
	log     logr.Logger
	deliver func([]Object)
	pauses  pauses
	objects map[types.UID]Object
	absent  int // how often in a row there was no such kind
	told    string
}

func (w *watcher) run(ctx context.Context) {
	lists := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return w.client.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.client.Watch(ctx, o)
		},
	}
	reflector := cache.NewReflectorWithOptions(lists, &unstructured.Unstructured{}, w, cache.ReflectorOptions{
		Name: v1alpha1.ProxyConfigs, TypeDescription: v1alpha1.ProxyConfigs, Logger: &w.log,
	})
	for ctx.Err() == nil {
		wait := w.pauses.failed
		if err := reflector.ListAndWatchWithContext(ctx); err != nil && ctx.Err() == nil {
			wait = w.failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait + rand.N(wait)):
		}
	}
}

// failed deals with an error, and returns how long to wait. What was delivered
// stays, until the API server has said twice that there is no such kind: one that
// starts says so too.
func (w *watcher) failed(err error) time.Duration {
	absent := apierrors.IsNotFound(err)
	line, reason := "can't follow ProxyConfigs, what is in force stays", err.Error()
	if absent {
		line, reason = "there are no ProxyConfigs to follow, the flags and --config count", "the API server does not have them (yet)"
	}
	if reason != w.told {
		w.log.Info(line, "reason", reason)
	}
	w.told = reason
	switch {
	case absent:
		if w.absent++; w.absent > 1 || len(w.objects) == 0 {
			clear(w.objects)
			w.deliver(nil)
		}
		return w.pauses.absent
	case apierrors.IsForbidden(err) && len(w.objects) == 0:
		w.deliver(nil)
		return w.pauses.absent
	}
	return w.pauses.failed
}

var _ cache.ReflectorStore = (*watcher)(nil)

// Add implements [cache.ReflectorStore].
func (w *watcher) Add(o any) error { return w.Update(o) }

// Update implements [cache.ReflectorStore].
func (w *watcher) Update(o any) error {
	object, err := objectOf(o)
	if err != nil {
		return err
	}
	w.objects[object.UID] = object
	w.tell()
	return nil
}

// Delete implements [cache.ReflectorStore].
func (w *watcher) Delete(o any) error {
	object, err := objectOf(o)
	if err != nil {
		return err
	}
	delete(w.objects, object.UID)
	w.tell()
	return nil
}

// Replace implements [cache.ReflectorStore]: list is all there is.
func (w *watcher) Replace(list []any, _ string) error {
	clear(w.objects)
	for _, o := range list {
		object, err := objectOf(o)
		if err != nil {
			return err
		}
		w.objects[object.UID] = object
	}
	if w.told != "" {
		w.log.Info("following ProxyConfigs")
	}
	w.absent, w.told = 0, ""
	w.tell()
	return nil
}

// Resync implements [cache.ReflectorStore]. There is nothing to repeat.
func (w *watcher) Resync() error { return nil }

// tell delivers all objects, in copies that nobody changes.
func (w *watcher) tell() { w.deliver(slices.Collect(maps.Values(w.objects))) }

// objectOf reads a ProxyConfig as the API gives it.
func objectOf(o any) (Object, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return Object{}, fmt.Errorf("read a ProxyConfig: it is a %T", o)
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		return Object{}, fmt.Errorf("read ProxyConfig %s: %w", u.GetName(), err)
	}
	decoded, _, err := Decode(raw)
	object := Object{ProxyConfig: *decoded, Err: err}
	object.Name, object.UID, object.Generation = u.GetName(), u.GetUID(), u.GetGeneration() // also of one that can't be read
	return object, nil
}
