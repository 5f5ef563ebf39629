package metrics

import (
	"cmp"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// sums adds up the counts of elements by what they stand for, over elements that
// come, go and begin anew, and chooses those that are exported.
type sums[K comparable] struct {
	limit    int
	round    uint32 // of reading
	elements map[elementKey]elementCount[K]
	totals   map[K]*total[K]
}

// elementKey identifies an element of all maps.
type elementKey struct {
	frontend model.FrontendKey
	slot     uint32
	isLocal  bool // of the map for clients outside the cluster
}

// elementCount is small, since there is one of each element.
type elementCount[K comparable] struct {
	of    *total[K] // what it counts for
	last  uint64
	round uint32 // in which it was last seen
}

type total[K comparable] struct {
	of          K
	connections uint64
	exported    bool
	round       uint32
}

// patience is after how many rounds an element that is not seen is gone: reading
// may miss it while the kernel rebuilds the map's hash table, and if it was
// forgotten, all that it has counted would be counted again.
const patience = 3

func newSums[K comparable](limit int) sums[K] {
	return sums[K]{limit: limit, elements: map[elementKey]elementCount[K]{}, totals: map[K]*total[K]{}}
}

// begin begins a round of reading.
func (s *sums[K]) begin() { s.round++ }

// add takes the count of one element into account.
func (s *sums[K]) add(of K, key elementKey, connections uint64) {
	t := s.totals[of]
	if t == nil {
		t = &total[K]{of: of}
		s.totals[of] = t
	}
	e := s.elements[key]
	if e.of != t || connections < e.last {
		e = elementCount[K]{of: t} // another element than before
	}
	t.connections += connections - e.last
	t.round = s.round
	s.elements[key] = elementCount[K]{of: t, last: connections, round: s.round}
}

// owner is what an element counts for.
func (s *sums[K]) owner(key elementKey) (of K, found bool) {
	e, found := s.elements[key]
	if found {
		of = e.of.of
	}
	return of, found
}

// end ends a round: what has gone is forgotten, and what there is room for is
// chosen.
func (s *sums[K]) end(compare func(a, b K) int) {
	for key, e := range s.elements {
		if s.round-e.round >= patience {
			delete(s.elements, key)
		}
	}
	room := s.limit
	var waiting []K
	for k, t := range s.totals {
		switch {
		case s.round-t.round >= patience:
			delete(s.totals, k)
		case t.exported:
			room--
		default:
			waiting = append(waiting, k)
		}
	}
	if room <= 0 {
		return
	}
	slices.SortFunc(waiting, func(a, b K) int {
		return cmp.Or(cmp.Compare(s.totals[b].connections, s.totals[a].connections), compare(a, b))
	})
	for _, k := range waiting[:min(room, len(waiting))] {
		s.totals[k].exported = true
	}
}

// visit visits what is exported.
func (s *sums[K]) visit(do func(k K, connections uint64)) {
	for k, t := range s.totals {
		if t.exported {
			do(k, t.connections)
		}
	}
}

// leftOut counts what is not exported.
func (s *sums[K]) leftOut() int {
	n := 0
	for _, t := range s.totals {
		if !t.exported {
			n++
		}
	}
	return n
}
