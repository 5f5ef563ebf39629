package health

import (
	"sync"
	"time"
)

// DefaultTimeout is kube-proxy's: twice its default syncPeriod of 30 s.
const DefaultTimeout = time.Minute

// State is what is known of the proxy's health. Its methods may be called from
// any goroutine and return at once.
type State struct {
	timeout time.Duration

	mu      sync.Mutex // held for a few assignments only
	began   bool       // Began was called
	queued  time.Time  // when the oldest change came that no sync has begun with; zero: none
	working time.Time  // since when there is work that a sync has begun with and none has finished; zero: none
	synced  time.Time  // end of the last sync that succeeded; zero: none did
	leaving bool
}

// NewState makes the state of a proxy that starts: healthy, not ready, on a node
// that stays. The proxy is unhealthy while a change, or a repair of the table, has
// waited for timeout or longer.
func NewState(timeout time.Duration) *State { return &State{timeout: timeout} }

// Queued says that a change came that needs a sync. Call it after the change is
// where the loop will take it from, and before the loop is woken. What comes
// before the first sync began doesn't count: it may have to wait for the API
// server for any time.
func (s *State) Queued(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued.IsZero() {
		s.queued = at
	}
}

// Began says that a sync begins. Call it before the loop takes the changes that
// wait. A sync that fails needs no call: its changes go on waiting.
func (s *State) Began(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.working.IsZero() {
		s.working = at // a repair, or the first sync
		if s.began && !s.queued.IsZero() {
			s.working = s.queued
		}
	}
	s.began, s.queued = true, time.Time{}
}

// Synced says that the sync that began last has succeeded.
func (s *State) Synced(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.working, s.synced = time.Time{}, at
}

// SetNodeLeaving says whether this node is being removed.
func (s *State) SetNodeLeaving(leaving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = leaving
}

// Health is the state at one moment.
type Health struct {
	Healthy      bool      // no change and no repair has waited too long
	Ready        bool      // the table has been complete
	NodeEligible bool      // the node stays, so load balancers may use it
	LastUpdated  time.Time // end of the last sync that succeeded; zero: none did
}

// Health judges the state.
func (s *State) Health(now time.Time) Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.working
	if waiting.IsZero() && s.began {
		waiting = s.queued
	}
	return Health{
		Healthy:      waiting.IsZero() || now.Sub(waiting) < s.timeout,
		Ready:        !s.synced.IsZero(),
		NodeEligible: !s.leaving,
		LastUpdated:  s.synced,
	}
}
