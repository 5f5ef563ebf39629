package testnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OutcomeKind says what became of an attempt to connect.
type OutcomeKind uint8

// The outcomes.
const (
	// Answered: a server told its line.
	Answered OutcomeKind = iota + 1
	// Refused: TCP reset, ICMP port unreachable or SCTP abort. On one machine an
	// ICMP error can come back while connect(2) still holds the TCP socket; the
	// kernel (6.18, tcp_v4_err, tcp_v6_err) then notes it only, and the client
	// learns of the next one, a second later. A reset does not wait.
	Refused
	// Unreachable: any other ICMP error, or no route from here.
	Unreachable
	// Silent: no answer in time.
	Silent
	// Broken: something else, told in Err: a reset after the connection was
	// accepted, an answer that is no server's line, a source address that isn't here.
	Broken
)

func (k OutcomeKind) String() string {
	switch k {
	case Answered:
		return "answered"
	case Refused:
		return "refused"
	case Unreachable:
		return "unreachable"
	case Silent:
		return "silent"
	case Broken:
		return "broken"
	}
	return fmt.Sprintf("OutcomeKind(%d)", uint8(k))
}

// Outcome is what became of one attempt to connect.
type Outcome struct {
	Kind    OutcomeKind
	Server  string         // name of the server that answered
	Client  netip.AddrPort // the client's address as the server saw it
	Source  netip.AddrPort // the client's address as the client knows it, if it got that far
	Latency time.Duration  // until the answer or the refusal
	Err     error          // why there was no answer
}

// String tells the outcome in a line.
func (o Outcome) String() string {
	if o.Kind == Answered {
		return fmt.Sprintf("answered by %s, which saw %s", o.Server, o.Client)
	}
	return fmt.Sprintf("%s (%v)", o.Kind, o.Err)
}

// Masqueraded reports whether the server saw another address than the client's own.
func (o Outcome) Masqueraded() bool {
	return o.Kind == Answered && o.Client.Addr() != o.Source.Addr()
}

// ProbeOptions change how a probe is made.
type ProbeOptions struct {
	// Source is the address and port to come from; the zero values of its two
	// parts let the kernel choose.
	Source netip.AddrPort
	// Timeout is how long to wait until it is silence; 0 is DefaultTimeout. One
	// second or more gives a lost TCP SYN a second chance; UDP and SCTP probes send
	// one packet whatever the timeout.
	Timeout time.Duration
}

// DefaultTimeout is how long a probe waits for an answer. Only silence takes so
// long; where silence is expected, ask for less.
const DefaultTimeout = 2 * time.Second

// Probe makes one attempt to connect and get a server's line.
func (h *Host) Probe(p Protocol, dst netip.AddrPort) Outcome {
	return h.ProbeWith(p, dst, ProbeOptions{})
}

// ProbeWith is Probe with options.
func (h *Host) ProbeWith(p Protocol, dst netip.AddrPort, opts ProbeOptions) Outcome {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	start := time.Now()
	a, err := h.probe(p, dst, opts)
	o := Outcome{Source: a.source, Latency: time.Since(start)}
	if err == nil {
		o.Server, o.Client, err = parseGreeting(a.line)
	}
	o.Kind, o.Err = classify(err), err
	return o
}

// answer is what a probe gets before it is understood.
type answer struct {
	line   []byte
	source netip.AddrPort
}

func (h *Host) probe(p Protocol, dst netip.AddrPort, opts ProbeOptions) (answer, error) {
	switch p {
	case TCP, UDP:
		return h.probeSocket(p, dst, opts)
	case SCTP:
		return h.probeSCTP(dst, opts)
	}
	return answer{}, fmt.Errorf("probe %s: only TCP, UDP and SCTP can be probed", p)
}

func (h *Host) probeSocket(p Protocol, dst netip.AddrPort, opts ProbeOptions) (answer, error) {
	conn, err := h.dial(p, dst, opts)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	a := answer{source: addrPortOf(conn.LocalAddr())}
	if p == UDP {
		if err := send(conn, []byte("?\n")); err != nil {
			return a, err
		}
	}
	a.line, err = bufio.NewReader(conn).ReadBytes('\n')
	return a, err
}

// send writes a packet. A local process whose packet a rule drops or rejects on
// its way out gets EPERM at once; which of the two it was shows in what comes back.
func send(conn net.Conn, packet []byte) error {
	if _, err := conn.Write(packet); err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

// dial opens a socket with the deadline of the options, which a reset closes.
func (h *Host) dial(p Protocol, dst netip.AddrPort, opts ProbeOptions) (net.Conn, error) {
	d := net.Dialer{Deadline: time.Now().Add(opts.Timeout)}
	d.SetMultipathTCP(false)
	network := "tcp"
	source := opts.Source
	if !source.Addr().IsValid() {
		source = netip.AddrPortFrom(unspecified(dst.Addr()), source.Port())
	}
	if p == UDP {
		network = "udp"
		d.LocalAddr = net.UDPAddrFromAddrPort(source)
		d.Control = hearAllErrors
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(source)
	}
	conn, err := h.dialWith(context.Background(), &d, network, dst.String())
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(d.Deadline)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = errors.Join(err, tcp.SetLinger(0)) // leaves no TIME_WAIT behind
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// hearAllErrors makes a socket that is no TCP socket report each ICMP error;
// without it, it hears of an unreachable port but not of an unreachable network.
func hearAllErrors(network, _ string, c syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if strings.HasSuffix(network, "6") || strings.HasPrefix(network, "ip6") {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	var err error
	failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(failed, err)
}

// DialContext dials from the host's namespace, as net.Dialer does.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dialWith(ctx, &net.Dialer{}, network, address)
}

func (h *Host) dialWith(ctx context.Context, d *net.Dialer, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func unspecified(a netip.Addr) netip.Addr {
	if familyOf(a) == IPv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func addrPortOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// classify tells what an error means for the outcome.
func classify(err error) OutcomeKind {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return Answered
	case is(unix.ECONNREFUSED, errSCTPAbort):
		return Refused
	case is(unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EPROTO, unix.EACCES):
		return Unreachable
	case is(os.ErrDeadlineExceeded, context.DeadlineExceeded, unix.ETIMEDOUT, unix.EPERM):
		return Silent
	}
	return Broken
}

// Distribution is how a number of probes spread over servers.
type Distribution struct {
	Servers map[string]int
	Failed  map[OutcomeKind]int // attempts without an answer
	First   Outcome             // the first of those
}

// Distribution makes n probes, a few at a time.
func (h *Host) Distribution(p Protocol, dst netip.AddrPort, n int) Distribution {
	const atOnce = 4
	attempts := make(chan struct{})
	outcomes := make(chan Outcome)
	var tasks sync.WaitGroup
	for range atOnce {
		tasks.Go(func() {
			for range attempts {
				outcomes <- h.Probe(p, dst)
			}
		})
	}
	go func() {
		for range n {
			attempts <- struct{}{}
		}
		close(attempts)
		tasks.Wait()
		close(outcomes)
	}()
	d := Distribution{Servers: map[string]int{}, Failed: map[OutcomeKind]int{}}
	for o := range outcomes {
		d.count(o)
	}
	return d
}

func (d *Distribution) count(o Outcome) {
	if o.Kind == Answered {
		d.Servers[o.Server]++
		return
	}
	if len(d.Failed) == 0 {
		d.First = o
	}
	d.Failed[o.Kind]++
}

// MaxDeviation is by how much the server farthest from its fair share is away
// from it: 0.1 is 10 %. It is 0 if none answered.
func (d Distribution) MaxDeviation() float64 {
	total, most := 0, 0.0
	for _, n := range d.Servers {
		total += n
	}
	fair := float64(total) / float64(len(d.Servers))
	for _, n := range d.Servers {
		most = max(most, float64(n)/fair-1, 1-float64(n)/fair)
	}
	return most
}
