package source

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Ledger holds what a source has delivered, so that a source may say the same
// again, as after a reconnect, and the sink hears only of what differs. A source
// sets what it sees and then takes the update. A Ledger belongs to one goroutine.
type Ledger struct {
	services map[model.ServiceName]*model.Service
	slices   map[model.SliceName]*model.EndpointSlice
	node     *model.Node
	ranges   map[string][]netip.Prefix // by the name of the ServiceCIDR
	problems map[model.ObjectRef][]model.Problem

	cidrs      *[]netip.Prefix // the union of ranges as delivered; nil before the first time
	cidrsDirty bool
	pending    model.Update
}

// NewLedger makes a ledger of nothing delivered.
func NewLedger() *Ledger {
	return &Ledger{
		services: make(map[model.ServiceName]*model.Service),
		slices:   make(map[model.SliceName]*model.EndpointSlice),
		ranges:   make(map[string][]netip.Prefix),
		problems: make(map[model.ObjectRef][]model.Problem),
	}
}

// Reserve makes room for that many objects of a kind, before the first of them: maps
// that grow are copied again and again.
func (l *Ledger) Reserve(kind string, n int) {
	switch {
	case kind == KindService && len(l.services) == 0:
		l.services = make(map[model.ServiceName]*model.Service, n)
		l.pending.Services = make(map[model.ServiceName]*model.Service, n)
	case kind == KindEndpointSlice && len(l.slices) == 0:
		l.slices = make(map[model.SliceName]*model.EndpointSlice, n)
		l.pending.Slices = make(map[model.SliceName]*model.EndpointSlice, n)
	}
}

// Object is what one API object says, as the proxy sees it.
type Object struct {
	Ref model.ObjectRef

	// Value is a *model.Service, a *model.EndpointSlice, a *model.Node, or the
	// []netip.Prefix of a ServiceCIDR; nil if the proxy does not take the object,
	// or it is gone.
	Value    any
	Problems []model.Problem
}

// The kinds of objects that sources read.
const (
	KindService       = "Service"
	KindEndpointSlice = "EndpointSlice"
	KindNode          = "Node"
	KindServiceCIDR   = "ServiceCIDR"
)

// Set says what an object is now, whatever its kind.
func (l *Ledger) Set(o Object) {
	switch o.Ref.Kind {
	case KindService:
		s, _ := o.Value.(*model.Service)
		l.SetService(model.ServiceName{Namespace: o.Ref.Namespace, Name: o.Ref.Name}, s)
	case KindEndpointSlice:
		s, _ := o.Value.(*model.EndpointSlice)
		l.SetSlice(model.SliceName{Namespace: o.Ref.Namespace, Name: o.Ref.Name}, s)
	case KindNode:
		n, _ := o.Value.(*model.Node)
		l.SetNode(n)
	case KindServiceCIDR:
		ranges, _ := o.Value.([]netip.Prefix)
		l.SetServiceCIDR(o.Ref.Name, ranges)
	}
	l.SetProblems(o.Ref, o.Problems)
}

// SetService says what a Service is now; nil if there is none.
func (l *Ledger) SetService(name model.ServiceName, s *model.Service) {
	set(l.services, &l.pending.Services, name, s, sameService)
}

// SetSlice says what an EndpointSlice is now; nil if there is none.
func (l *Ledger) SetSlice(name model.SliceName, s *model.EndpointSlice) {
	set(l.slices, &l.pending.Slices, name, s, sameSlice)
}

// SetNode says what the node is now. A node that is gone stays as it was: the
// proxy runs on it all the same.
func (l *Ledger) SetNode(n *model.Node) {
	if n != nil && (l.node == nil || !sameNode(l.node, n)) {
		l.node, l.pending.Node = n, n
	}
}

// SetServiceCIDR says which ranges a ServiceCIDR has now; none if it is gone.
func (l *Ledger) SetServiceCIDR(name string, ranges []netip.Prefix) {
	if len(ranges) == 0 {
		delete(l.ranges, name)
	} else {
		l.ranges[name] = ranges
	}
	l.TellServiceCIDRs()
}

// TellServiceCIDRs says that the ServiceCIDRs that were set are all there are:
// from then on the sink knows when there are none.
func (l *Ledger) TellServiceCIDRs() { l.cidrsDirty = true }

// Retain says that all objects are gone but those to keep.
func (l *Ledger) Retain(keep func(model.ObjectRef) bool) {
	for ref := range l.refs() {
		if !keep(ref) {
			l.Set(Object{Ref: ref})
		}
	}
}

// refs yields what the ledger holds something about, once or more.
func (l *Ledger) refs() iter.Seq[model.ObjectRef] {
	return func(yield func(model.ObjectRef) bool) {
		for n := range l.services {
			if !yield(model.ObjectRef{Kind: KindService, Namespace: n.Namespace, Name: n.Name}) {
				return
			}
		}
		for n := range l.slices {
			if !yield(model.ObjectRef{Kind: KindEndpointSlice, Namespace: n.Namespace, Name: n.Name}) {
				return
			}
		}
		for name := range l.ranges {
			if !yield(model.ObjectRef{Kind: KindServiceCIDR, Name: name}) {
				return
			}
		}
		for ref := range l.problems {
			if !yield(ref) {
				return
			}
		}
	}
}

// SetProblems says all the problems that an object, or a file of objects, has now.
func (l *Ledger) SetProblems(ref model.ObjectRef, problems []model.Problem) {
	if slices.Equal(l.problems[ref], problems) {
		return
	}
	if len(problems) == 0 {
		delete(l.problems, ref)
	} else {
		l.problems[ref] = problems
	}
	record(&l.pending.Problems, ref, problems)
}

// Take returns what changed since the last time, and whether anything did.
func (l *Ledger) Take() (model.Update, bool) {
	if l.cidrsDirty {
		l.cidrsDirty = false
		if union := l.union(); l.cidrs == nil || !slices.Equal(*l.cidrs, union) {
			l.cidrs, l.pending.ServiceCIDRs = &union, &union
		}
	}
	u := l.pending
	l.pending = model.Update{}
	changed := len(u.Services)+len(u.Slices)+len(u.Problems) > 0 || u.Node != nil || u.ServiceCIDRs != nil
	return u, changed
}

// union is all ranges in order, each once.
func (l *Ledger) union() []netip.Prefix {
	var all []netip.Prefix
	for _, r := range l.ranges {
		all = append(all, r...)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// set makes v the value of k, and records it as a change if it differs.
func set[K comparable, V any](have map[K]*V, changes *map[K]*V, k K, v *V, same func(a, b *V) bool) {
	old := have[k]
	switch {
	case old == v: // nothing before and now, or the same value
		return
	case v == nil:
		delete(have, k)
	case old != nil && same(old, v):
		return
	default:
		have[k] = v
	}
	record(changes, k, v)
}

func record[K comparable, V any](changes *map[K]V, k K, v V) {
	if *changes == nil {
		*changes = make(map[K]V)
	}
	(*changes)[k] = v
}
