package main

import "testing"

// TestChangeIsFlat guards what makes the agent fast: a change costs what it
// changes, at any size of the cluster. It counts operations and allocations, and
// looks at no clock.
func TestChangeIsFlat(t *testing.T) {
	const changes = 300
	small := mustSimulate(t, size{services: 300, endpoints: 10}, changes)
	large := mustSimulate(t, size{services: 10_000, endpoints: 10}, changes)
	for _, r := range []result{small, large} {
		if r.transactions != 1 {
			t.Errorf("%+v: %.3f transactions per change, want 1", r.size, r.transactions)
		}
		// The new endpoint's slot in, the old one's out; for an endpoint on the agent's
		// own node its hairpin elements too.
		if r.messageBounds[0] != 2 || r.messageBounds[1] > 4 {
			t.Errorf("%+v: a change wrote from %d to %d elements, want 2, or 4 on the own node", r.size, r.messageBounds[0], r.messageBounds[1])
		}
	}
	if large.allocations > small.allocations*1.1 || large.allocated > small.allocated*1.25 {
		t.Errorf("a change allocates %.0f times, %.0f bytes at %+v, but %.0f times, %.0f bytes at %+v",
			large.allocations, large.allocated, large.size, small.allocations, small.allocated, small.size)
	}
}

func mustSimulate(t *testing.T, s size, changes int) result {
	t.Helper()
	r, err := simulate(s, changes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
