package health_test

import (
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/health"
)

// at is a moment, in seconds after the start.
func at(seconds int) time.Time { return time.Unix(1e9+int64(seconds), 0) }

// The timeout is 60 s in all cases; the question is asked at second 100.
func TestHealthy(t *testing.T) {
	queued := func(s int) func(*health.State) { return func(st *health.State) { st.Queued(at(s)) } }
	began := func(s int) func(*health.State) { return func(st *health.State) { st.Began(at(s)) } }
	synced := func(s int) func(*health.State) { return func(st *health.State) { st.Synced(at(s)) } }
	tests := []struct {
		name    string
		steps   []func(*health.State)
		healthy bool
	}{
		{"nothing happened", nil, true},
		{"sources are not complete for long", []func(*health.State){queued(0)}, true},
		{"first sync just began, though its changes came long ago", []func(*health.State){queued(0), began(90)}, true},
		{"first sync hangs", []func(*health.State){queued(0), began(40)}, false},
		{"just below the timeout", []func(*health.State){queued(0), began(41)}, true},
		{"synced long ago", []func(*health.State){queued(0), began(1), synced(2)}, true},
		{"a change waits", []func(*health.State){began(1), synced(2), queued(50)}, true},
		{"the loop hangs before it takes a change", []func(*health.State){began(1), synced(2), queued(30)}, false},
		{"later changes don't make the first one younger", []func(*health.State){began(1), synced(2), queued(30), queued(90)}, false},
		{"a sync hangs", []func(*health.State){began(1), synced(2), queued(30), began(31)}, false},
		{"a sync hangs and a change came", []func(*health.State){began(1), synced(2), queued(30), began(31), queued(99)}, false},
		{"syncs fail again and again", []func(*health.State){began(1), synced(2), queued(30), began(31), began(60), began(90)}, false},
		{"failed, then succeeded", []func(*health.State){began(1), synced(2), queued(30), began(31), began(60), synced(90)}, true},
		{"a change came during a sync that succeeded, and waits", []func(*health.State){began(1), queued(30), synced(90)}, false},
		{"a repair hangs", []func(*health.State){began(1), synced(2), began(3)}, false},
		{"a repair succeeded", []func(*health.State){began(1), synced(2), began(3), synced(4)}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := health.NewState(time.Minute)
			for _, step := range test.steps {
				step(state)
			}
			if got := state.Health(at(100)).Healthy; got != test.healthy {
				t.Errorf("healthy: %v, want %v", got, test.healthy)
			}
		})
	}
}

func TestReadyAndEligible(t *testing.T) {
	state := health.NewState(time.Minute)
	want := health.Health{Healthy: true, NodeEligible: true}
	check := func() {
		t.Helper()
		if got := state.Health(at(10)); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	check()
	state.Queued(at(1))
	state.Began(at(2))
	check()
	state.Synced(at(3))
	want.Ready, want.LastUpdated = true, at(3)
	check()
	state.SetNodeLeaving(true)
	want.NodeEligible = false
	check()
	state.SetNodeLeaving(false)
	want.NodeEligible = true
	check()
	state.Began(at(4)) // a later failure: still ready
	check()
}
