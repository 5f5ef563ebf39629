package fleet

import "time"

// schedule decides when to report.
type schedule struct {
	interval time.Duration
	random   func(time.Duration) time.Duration // less than its argument

	last time.Time // when it was tried last
	due  time.Time // when a change is to be reported; zero: there is none
}

// difference is how a report differs from the last one.
type difference int

const (
	same     difference = iota
	timeOnly            // the table was changed, and nothing that a person looks for
	news
)

// isDue reports whether to report now.
func (s *schedule) isDue(now time.Time, d difference) bool {
	switch {
	case d == same, d == timeOnly && now.Before(s.last.Add(10*s.interval)):
		s.due = time.Time{}
		return false
	case s.due.IsZero():
		// The first report waits too: agents start together.
		s.due = now.Add(s.random(s.interval / 6))
		if earliest := s.last.Add(s.interval); s.due.Before(earliest) {
			s.due = earliest.Add(s.random(s.interval / 6))
		}
	}
	return !now.Before(s.due)
}

// tried notes that it was reported, or could not be.
func (s *schedule) tried(now time.Time) { s.last, s.due = now, time.Time{} }
