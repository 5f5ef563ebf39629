package testnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// HoldOptions say what conversations to hold.
type HoldOptions struct {
	Protocol    Protocol // TCP or UDP; 0 is TCP
	Dst         netip.AddrPort
	Connections int           // 0 is 1
	Interval    time.Duration // between two pings of a conversation; 0 is 10 ms
	Timeout     time.Duration // how long a ping may take until it has failed; 0 is 3 s
}

// HoldReport counts what became of the pings.
type HoldReport struct {
	Pings  uint64 // answered
	Failed uint64
	// Moved counts pings that another server answered than the one before: a UDP
	// flow that lost its pin.
	Moved   uint64
	Servers map[string]int // conversations, by the server that answered last
	Latency Latencies
	Errors  []Failure // the first 10 failures
}

// String sums up the report in one line.
func (r HoldReport) String() string {
	s := fmt.Sprintf("%d pings answered, %d failed, %d moved, latency %s", r.Pings, r.Failed, r.Moved, &r.Latency)
	if len(r.Errors) > 0 {
		s += fmt.Sprintf("; first failure: %s (%v)", r.Errors[0].Kind, r.Errors[0].Err)
	}
	return s
}

// Hold is a number of long-lived conversations. A TCP conversation ends at its
// first failure; a UDP one goes on.
type Hold struct {
	talks []*conversation
	tasks sync.WaitGroup
}

// Hold opens conversations with servers of this package and pings in each until
// the context ends. It returns when all are open; if one can't be opened, none is held.
func (h *Host) Hold(ctx context.Context, opts HoldOptions) (*Hold, error) {
	if opts.Protocol == 0 {
		opts.Protocol = TCP
	}
	if opts.Interval == 0 {
		opts.Interval = 10 * time.Millisecond
	}
	if opts.Timeout == 0 {
		opts.Timeout = 3 * time.Second
	}
	hold := &Hold{}
	for i := range max(opts.Connections, 1) {
		c, err := h.converse(opts)
		if err != nil {
			for _, c := range hold.talks {
				c.conn.Close()
			}
			return nil, fmt.Errorf("open conversation %d with %s: %w", i+1, opts.Dst, err)
		}
		hold.talks = append(hold.talks, c)
	}
	for _, c := range hold.talks {
		hold.tasks.Go(func() { c.run(ctx) })
	}
	return hold, nil
}

// Report counts up to now.
func (h *Hold) Report() HoldReport {
	sum := HoldReport{Servers: map[string]int{}}
	for _, c := range h.talks {
		c.addTo(&sum)
	}
	return sum
}

// Wait waits until all conversations have ended, and counts.
func (h *Hold) Wait() HoldReport {
	h.tasks.Wait()
	return h.Report()
}

// conversation is one connection, owned by its goroutine but for what the mutex guards.
type conversation struct {
	opts HoldOptions
	conn net.Conn
	in   *bufio.Reader

	mu     sync.Mutex
	server string
	report HoldReport
}

func (h *Host) converse(opts HoldOptions) (*conversation, error) {
	conn, err := h.dial(opts.Protocol, opts.Dst, ProbeOptions{Timeout: opts.Timeout})
	if err != nil {
		return nil, err
	}
	c := &conversation{opts: opts, conn: conn, in: bufio.NewReader(conn)}
	if opts.Protocol == TCP {
		err = c.hear()
	} else {
		err = c.ping()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// run pings until the context ends or, over TCP, until the first failure.
func (c *conversation) run(ctx context.Context) {
	defer c.conn.Close()
	tick := time.NewTicker(c.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begin := time.Now()
		err := c.ping()
		c.count(begin, err)
		if err != nil && c.opts.Protocol == TCP {
			return
		}
	}
}

// ping sends a line; TCP servers echo it, UDP servers answer with their own.
func (c *conversation) ping() error {
	if err := c.conn.SetDeadline(time.Now().Add(c.opts.Timeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write([]byte("?\n")); err != nil {
		return err
	}
	if c.opts.Protocol == UDP {
		return c.hear()
	}
	_, err := c.in.ReadSlice('\n')
	return err
}

// hear reads a server's line.
func (c *conversation) hear() error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	server, _, err := parseGreeting(line)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != "" && c.server != server {
		c.report.Moved++
	}
	c.server = server
	return nil
}

func (c *conversation) count(begin time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.report.Pings++
		c.report.Latency.add(time.Since(begin))
		return
	}
	c.report.Failed++
	if len(c.report.Errors) < keptErrors {
		c.report.Errors = append(c.report.Errors, Failure{Time: begin, Kind: classify(err), Err: err})
	}
}

func (c *conversation) addTo(sum *HoldReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum.Pings += c.report.Pings
	sum.Failed += c.report.Failed
	sum.Moved += c.report.Moved
	sum.Servers[c.server]++
	sum.Latency.merge(&c.report.Latency)
	sum.Errors = firstFailures(append(sum.Errors, c.report.Errors...))
}

// firstFailures keeps the earliest failures, in order.
func firstFailures(f []Failure) []Failure {
	slices.SortFunc(f, func(a, b Failure) int { return a.Time.Compare(b.Time) })
	return f[:min(len(f), keptErrors)]
}
