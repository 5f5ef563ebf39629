package health

import (
	"context"
	"time"
)

// How soon a failed bind is tried again, at first and at most.
const (
	firstRetry = 50 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// reportEvery is how often a failure that goes on is reported: Events of the API
// live for an hour.
const reportEvery = 10 * time.Minute

// due reports whether a failure that was last reported then, or never if zero, is
// to be reported again.
func due(reported time.Time) bool { return reported.IsZero() || time.Since(reported) >= reportEvery }

// backoff times retries: each wait is twice as long as the one before.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(firstRetry, 2*b.last), mostRetry)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits for the next retry. It returns false if the context ended.
func (b *backoff) sleep(ctx context.Context) bool {
	timer := time.NewTimer(b.next())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
