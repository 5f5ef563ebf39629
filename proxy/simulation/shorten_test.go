package simulation

import (
	"maps"
	"slices"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// shortener looks for a shorter history that diverges too.
type shortener struct {
	t       *testing.T
	real    *kernel.Conn // nil: memory only
	tries   int          // left
	history []event
	d       *divergence
}

// shorten leaves out events, and then parts of events, as long as the history
// still diverges, for at most a number of tries.
func shorten(t *testing.T, history []event, d *divergence, tries int, real *kernel.Conn) ([]event, *divergence) {
	s := &shortener{t, real, tries, history[:d.step+1], d}
	s.events()
	s.parts()
	s.events()
	return s.history, s.d
}

// try takes the history if it diverges.
func (s *shortener) try(history []event) bool {
	if len(history) == 0 || s.tries == 0 {
		return false
	}
	s.tries--
	d, _ := play(s.t, history, s.real)
	if s.real != nil {
		removeTable(s.t, s.real)
	}
	if d != nil {
		s.history, s.d = history[:d.step+1], d
	}
	return d != nil
}

// events leaves out runs of events, the longest first.
func (s *shortener) events() {
	for size := len(s.history) / 2; size > 0; size /= 2 {
		for at := 0; at+size < len(s.history); {
			shorter := slices.Concat(s.history[:at], s.history[at+size:])
			if shorter[0].restart == nil { // the first event begins the proxy
				shorter[0].restart = s.history[0].restart
			}
			if !s.try(shorter) {
				at += size
			}
		}
	}
}

// parts leaves out objects, restarts and faults.
func (s *shortener) parts() {
	for at := len(s.history) - 1; at >= 0; at-- {
		for _, smaller := range smallerEvents(&s.history[min(at, len(s.history)-1)]) {
			history := slices.Clone(s.history)
			history[min(at, len(history)-1)] = smaller
			if s.try(history) {
				at++ // once more
				break
			}
		}
	}
}

// smallerEvents are the event without one of its parts each.
func smallerEvents(e *event) []event {
	var list []event
	add := func(change func(*event)) {
		smaller := *e
		smaller.updates = slices.Clone(e.updates)
		change(&smaller)
		list = append(list, smaller)
	}
	if e.fault != noFault {
		add(func(s *event) { s.fault = noFault })
	}
	for i := range e.updates {
		u := &e.updates[i]
		add(func(s *event) { s.updates = slices.Delete(s.updates, i, i+1) })
		for name := range u.Services {
			add(func(s *event) { s.updates[i].Services = without(u.Services, name) })
		}
		for name, slice := range u.Slices {
			add(func(s *event) { s.updates[i].Slices = without(u.Slices, name) })
			for k := range endpointsOf(slice) {
				add(func(s *event) {
					fewer := *slice
					fewer.Endpoints = slices.Delete(slices.Clone(slice.Endpoints), k, k+1)
					s.updates[i].Slices = maps.Clone(u.Slices)
					s.updates[i].Slices[name] = &fewer
				})
			}
		}
		if u.Node != nil {
			add(func(s *event) { s.updates[i].Node = nil })
		}
		if u.ServiceCIDRs != nil {
			add(func(s *event) { s.updates[i].ServiceCIDRs = nil })
		}
		if u.HostAddrs != nil {
			add(func(s *event) { s.updates[i].HostAddrs = nil })
		}
	}
	return list
}

func endpointsOf(s *model.EndpointSlice) []model.Endpoint {
	if s == nil {
		return nil
	}
	return s.Endpoints
}

func without[K comparable, V any](m map[K]V, k K) map[K]V {
	m = maps.Clone(m)
	delete(m, k)
	return m
}
