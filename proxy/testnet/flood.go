package testnet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// FloodOptions say what a flood does.
type FloodOptions struct {
	Dst netip.AddrPort
	// Workers is how many connections are open at once, each on a thread of its
	// own; 0 is 4.
	Workers int
	// Rate is the most connections per second, over all workers; 0 is as many as there can be.
	Rate int
	// Timeout is how long one connection may take until it has failed; 0 is 3 s,
	// which outlives one lost SYN.
	Timeout time.Duration
	// Source is the address to come from; the zero value lets the kernel choose.
	Source netip.Addr
	// OnFailure, if set, is called for each connection that failed, when it has. The
	// worker waits for it.
	OnFailure func(Failure)
}

// FloodReport counts what a flood did. A connection is opened when the server's
// line has arrived; else it has failed.
type FloodReport struct {
	Opened  uint64
	Failed  uint64
	Servers map[string]uint64 // connections opened per server
	Latency Latencies         // of opened connections, until the line
	Errors  []Failure         // the first 10 failures

	FirstFailure, LastFailure time.Time // when those connections began; zero: none

	Elapsed time.Duration // since the flood began, until it ended
}

// Failure is an attempt that failed, and when it began.
type Failure struct {
	Time time.Time
	Kind OutcomeKind
	Err  error
}

// String sums up the report in one line.
func (r FloodReport) String() string {
	s := fmt.Sprintf("%d opened (%.0f/s), %d failed, latency %s",
		r.Opened, float64(r.Opened)/r.Elapsed.Seconds(), r.Failed, &r.Latency)
	if len(r.Errors) > 0 {
		s += fmt.Sprintf("; first failure: %s (%v)", r.Errors[0].Kind, r.Errors[0].Err)
	}
	return s
}

const keptErrors = 10

// Flood opens TCP connections, one after the other in each worker, until its
// context ends. Each is closed by a reset, so that it leaves no TIME_WAIT.
type Flood struct {
	host    *Host
	opts    FloodOptions
	start   time.Time
	workers []*floodWorker
	tasks   sync.WaitGroup
}

// Flood starts a flood of TCP connections from the host to a server of this package.
func (h *Host) Flood(ctx context.Context, opts FloodOptions) *Flood {
	if opts.Workers == 0 {
		opts.Workers = 4
	}
	if opts.Timeout == 0 {
		opts.Timeout = 3 * time.Second
	}
	f := &Flood{host: h, opts: opts, start: time.Now()}
	for range opts.Workers {
		w := &floodWorker{opts: opts, report: FloodReport{Servers: map[string]uint64{}}}
		f.workers = append(f.workers, w)
		f.tasks.Go(func() {
			if err := h.Do(func() error { w.run(ctx); return nil }); err != nil {
				w.fail(time.Now(), err)
			}
		})
	}
	return f
}

// Report counts up to now.
func (f *Flood) Report() FloodReport {
	sum := FloodReport{Servers: map[string]uint64{}, Elapsed: time.Since(f.start)}
	for _, w := range f.workers {
		w.addTo(&sum)
	}
	return sum
}

// Wait waits until the context has ended and all connections are closed, and
// counts.
func (f *Flood) Wait() FloodReport {
	f.tasks.Wait()
	return f.Report()
}

type floodWorker struct {
	opts FloodOptions

	mu     sync.Mutex
	report FloodReport
}

// run opens connections with plain system calls: the thread is in the host's
// namespace already, and nothing is allocated per connection.
func (w *floodWorker) run(ctx context.Context) {
	var pause time.Duration
	if w.opts.Rate > 0 {
		pause = time.Second * time.Duration(w.opts.Workers) / time.Duration(w.opts.Rate)
	}
	buf := make([]byte, 256)
	next := time.Now()
	for ctx.Err() == nil {
		begin := time.Now()
		n, err := w.connect(begin.Add(w.opts.Timeout), buf)
		if err == nil {
			err = w.opened(time.Since(begin), buf[:n])
		}
		if err != nil {
			w.fail(begin, err)
		}
		if next = next.Add(pause); pause > 0 {
			sleep(ctx, time.Until(next))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// connect opens one connection, reads the server's line and resets it.
func (w *floodWorker) connect(deadline time.Time, buf []byte) (int, error) {
	dst := w.opts.Dst
	domain := unix.AF_INET6
	if dst.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return 0, fmt.Errorf("set SO_LINGER: %w", err)
	}
	if w.opts.Source.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(w.opts.Source, 0))); err != nil {
			return 0, fmt.Errorf("bind to %s: %w", w.opts.Source, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(dst)); err != nil && err != unix.EINPROGRESS {
		return 0, fmt.Errorf("connect: %w", err)
	}
	if err := ready(fd, unix.POLLOUT, deadline); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		return 0, fmt.Errorf("connect: %w", unix.Errno(errno))
	}
	if err := ready(fd, unix.POLLIN, deadline); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	n, err := unix.Read(fd, buf)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	return n, nil
}

// ready waits until a socket is ready.
func ready(fd int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
	}
	return &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
}

func (w *floodWorker) opened(d time.Duration, line []byte) error {
	server, _, err := parseGreeting(line)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Opened++
	w.report.Servers[server]++
	w.report.Latency.add(d)
	return nil
}

func (w *floodWorker) fail(began time.Time, err error) {
	w.mu.Lock()
	w.report.fail(began, err)
	w.mu.Unlock()
	if w.opts.OnFailure != nil {
		w.opts.OnFailure(Failure{Time: began, Kind: classify(err), Err: err})
	}
}

func (r *FloodReport) fail(began time.Time, err error) {
	r.Failed++
	if r.FirstFailure.IsZero() {
		r.FirstFailure = began
	}
	r.LastFailure = began
	if len(r.Errors) < keptErrors {
		r.Errors = append(r.Errors, Failure{Time: began, Kind: classify(err), Err: err})
	}
}

// addTo adds what a worker did to a report.
func (w *floodWorker) addTo(sum *FloodReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.report
	sum.Opened += r.Opened
	sum.Failed += r.Failed
	for server, n := range maps.All(r.Servers) {
		sum.Servers[server] += n
	}
	sum.Latency.merge(&r.Latency)
	sum.Errors = firstFailures(append(sum.Errors, r.Errors...))
	if !r.FirstFailure.IsZero() && (sum.FirstFailure.IsZero() || r.FirstFailure.Before(sum.FirstFailure)) {
		sum.FirstFailure = r.FirstFailure
	}
	if r.LastFailure.After(sum.LastFailure) {
		sum.LastFailure = r.LastFailure
	}
}
