package kubernetes

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// store is where a reflector puts the objects of one resource: it converts them,
// and delivers what differs from before. The reflector calls it from one goroutine.
type store struct {
	convert *convert.Converter
	ledger  *source.Ledger
	sink    source.Sink

	replaced func() // called after each list
	cidrs    bool   // a list of these says what there is in all
}

func newStore(serviceProxyName string, sink source.Sink, replaced func()) *store {
	return &store{convert: convert.New(serviceProxyName), ledger: source.NewLedger(), sink: sink, replaced: replaced}
}

var _ cache.TransformingStore = (*store)(nil)

// Transformer makes the reflector convert objects while a list is streaming in,
// so that the list is never in memory as API objects.
func (s *store) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.object(o) }
}

// object is what o says; o is an API object, or was converted by the transformer.
func (s *store) object(o any) (source.Object, error) {
	if converted, ok := o.(source.Object); ok {
		return converted, nil
	}
	if o, ok := o.(metav1.Object); ok {
		if converted, known := s.convert.Object(o); known {
			return converted, nil
		}
	}
	return source.Object{}, fmt.Errorf("convert %T: not a kind that a proxy reads", o)
}

// Add implements [cache.ReflectorStore].
func (s *store) Add(o any) error { return s.Update(o) }

// Update implements [cache.ReflectorStore].
func (s *store) Update(o any) error {
	converted, err := s.object(o)
	if err != nil {
		return err
	}
	s.ledger.Set(converted)
	s.deliver()
	return nil
}

// Delete implements [cache.ReflectorStore]. An object that a watch's selectors no
// longer match comes here too.
func (s *store) Delete(o any) error {
	converted, err := s.object(o)
	if err != nil {
		return err
	}
	s.ledger.Set(source.Object{Ref: converted.Ref})
	s.deliver()
	return nil
}

// Replace implements [cache.ReflectorStore]: list is all there is.
func (s *store) Replace(list []any, _ string) error {
	keep := make(map[model.ObjectRef]bool, len(list))
	for i, o := range list {
		converted, err := s.object(o)
		if err != nil {
			return err
		}
		list[i] = nil // the API object can go
		if i == 0 {
			s.ledger.Reserve(converted.Ref.Kind, len(list))
		}
		keep[converted.Ref] = true
		s.ledger.Set(converted)
	}
	s.ledger.Retain(func(ref model.ObjectRef) bool { return keep[ref] })
	if s.cidrs {
		s.ledger.TellServiceCIDRs()
	}
	s.deliver()
	s.replaced()
	return nil
}

// Resync implements [cache.ReflectorStore]. There is nothing to repeat.
func (s *store) Resync() error { return nil }

func (s *store) deliver() {
	if update, changed := s.ledger.Take(); changed {
		s.sink.Apply(update)
	}
}
