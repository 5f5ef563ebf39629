package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tally counts requests and who answered them.
type tally struct {
	mu       sync.Mutex
	requests uint64
	failed   uint64
	first    error             // the first failure
	servers  map[string]uint64 // answers
	lastTo   map[string]time.Time
	firstTo  map[string]time.Time // since mark
	badSince time.Time            // first and last failure
	badUntil time.Time
}

func newTally() *tally {
	return &tally{servers: map[string]uint64{}, lastTo: map[string]time.Time{}, firstTo: map[string]time.Time{}}
}

func (t *tally) count(began time.Time, server string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if err != nil {
		t.failed++
		if t.first == nil {
			t.first, t.badSince = err, began
		}
		t.badUntil = time.Now()
		return
	}
	t.servers[server]++
	t.lastTo[server] = began
	if t.firstTo[server].IsZero() {
		t.firstTo[server] = began
	}
}

// mark forgets who answered first.
func (t *tally) mark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.firstTo)
}

// firstLast says when the first connection since mark, and the last one, to a
// server began; zero: none.
func (t *tally) firstLast(server string) (first, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.firstTo[server], t.lastTo[server]
}

// total counts requests up to now, and those that failed.
func (t *tally) total() (requests, failed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests, t.failed
}

const (
	atOnce = 4   // requests by one way
	rate   = 250 // requests per second by one way, of a load: few enough to measure beside
)

// client makes HTTP requests by one way, each on a connection of its own that
// leaves no TIME_WAIT behind.
func (w way) client() *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := w.from.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetLinger(0)
	}
	return &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// get makes one request and returns the name in the answer.
func (w way) get(c *http.Client) (server string, err error) {
	response, err := c.Get("http://" + w.to.String() + "/")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	server, _, ok := strings.Cut(string(body), " ")
	if err == nil && !ok {
		err = fmt.Errorf("answer %q: not one of our servers", body)
	}
	return server, err
}

// send makes n requests.
func (w way) send(ctx context.Context, n int, t *tally) error {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	w.work(t, func() bool { _, ok := <-left; return ok && ctx.Err() == nil }).Wait()
	return ctx.Err()
}

// work makes requests while there are more to make.
func (w way) work(t *tally, more func() bool) *sync.WaitGroup {
	var tasks sync.WaitGroup
	client := w.client()
	for range atOnce {
		tasks.Go(func() {
			for more() {
				began := time.Now()
				server, err := w.get(client)
				t.count(began, server, err)
			}
		})
	}
	return &tasks
}

// load is requests that keep flowing by all ways.
type load struct {
	*tally
	start time.Time
	stop  func()
}

func (s *stage) startLoad(ctx context.Context) (*load, error) {
	ways, err := s.ways()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &load{tally: newTally(), start: time.Now()}
	var tasks []*sync.WaitGroup
	for _, w := range ways {
		tick := time.Tick(time.Second / rate)
		tasks = append(tasks, w.work(l.tally, func() bool {
			select {
			case <-ctx.Done():
			case <-tick:
			}
			return ctx.Err() == nil
		}))
	}
	l.stop = func() {
		cancel()
		for _, t := range tasks {
			t.Wait()
		}
	}
	return l, nil
}

// finish ends the load, says how it went, and returns how many requests failed.
func (s *stage) finish(l *load) uint64 {
	l.stop()
	requests, failed := l.total()
	s.line("%d requests in %.1f s, by all ways in", requests, time.Since(l.start).Seconds())
	s.zero("failed requests", failed)
	if failed > 0 {
		s.line("first failure: %v", l.first)
		s.line("from the first failed request to the last: %s", ms(l.badUntil.Sub(l.badSince)))
	}
	return failed
}

// pause lets the load flow.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
