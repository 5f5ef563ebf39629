package proxy

import "time"

// backoff times retries: the first after a short time, each next after twice as
// long, up to a most.
type backoff struct {
	first, most time.Duration
	next        time.Duration
	timer       *time.Timer
}

// C fires when it is time to retry; it blocks forever while nothing is to be retried.
func (b *backoff) C() <-chan time.Time {
	if b.timer == nil {
		return nil
	}
	return b.timer.C
}

// start begins to wait and returns for how long.
func (b *backoff) start() time.Duration {
	b.next = min(max(b.first, 2*b.next), b.most)
	b.in(b.next)
	return b.next
}

// in waits for a given time instead, unless it waits already.
func (b *backoff) in(d time.Duration) {
	if b.timer == nil {
		b.timer = time.NewTimer(d)
	}
}

// stop ends the waiting, if there is any.
func (b *backoff) stop() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// reset begins anew with the shortest time.
func (b *backoff) reset() {
	b.stop()
	b.next = 0
}
