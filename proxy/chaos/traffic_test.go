package chaos

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
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

const (
	floodRate = 40                    // new TCP connections per second by one path
	interval  = 40 * time.Millisecond // between two pings of a conversation
	// patience outlives three lost SYNs: on a busy machine an answer may be late,
	// and only a path that is gone is to count.
	patience = 8 * time.Second
	resend   = 500 * time.Millisecond // of a datagram without an answer
)

// path is a way from a client to a service.
type path struct {
	name string
	from *testnet.Host
	tcp  netip.AddrPort
	udp  netip.AddrPort
}

// paths are all ways in: pods use cluster IPs, clients from outside the rest.
func paths(lab *testnet.Lab) []path {
	pod, client := lab.Host("a3"), lab.Host("client")
	node := []string{"192.0.2.10", "2001:db8:2::10"}
	ways := []struct {
		name     string
		from     *testnet.Host
		ips      []string
		tcp, udp int
	}{
		{"ClusterIP", pod, webService.clusterIPs(), 80, 80},
		{"NodePort", client, node, webService.nodePortOf(0), webService.nodePortOf(1)},
		{"VIP", client, webService.vips(), 80, 80},
		{"affinity", pod, stickyService.clusterIPs(), 80, 80},
	}
	var all []path
	for _, w := range ways {
		for i, ip := range testnet.Addrs(w.ips...) {
			all = append(all, path{
				name: fmt.Sprintf("%s IPv%d", w.name, 4+2*i), from: w.from,
				tcp: netip.AddrPortFrom(ip, uint16(w.tcp)), udp: netip.AddrPortFrom(ip, uint16(w.udp)),
			})
		}
	}
	return all
}

// traffic is the connections of a round.
type traffic struct {
	ledger *ledger
	cancel context.CancelFunc
	floods map[string]*testnet.Flood
	talks  sync.WaitGroup
}

func startTraffic(ctx context.Context, lab *testnet.Lab, l *ledger) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{ledger: l, cancel: cancel, floods: map[string]*testnet.Flood{}}
	for _, p := range paths(lab) {
		name := p.name + " TCP"
		t.floods[name] = p.from.Flood(ctx, testnet.FloodOptions{
			Dst: p.tcp, Workers: 2, Rate: floodRate, Timeout: patience,
			OnFailure: func(f testnet.Failure) { l.fail(name, f.Time, f.Time, f.Err) },
		})
		for _, c := range []conversation{
			{path: name + ", held", network: "tcp", dst: p.tcp},
			{path: name + ", held", network: "tcp", dst: p.tcp},
			{path: p.name + " UDP, held", network: "udp", dst: p.udp},
			{path: p.name + " UDP", network: "udp", dst: p.udp, pings: 10},
		} {
			c.from, c.ledger = p.from, l
			t.talks.Go(func() { c.run(ctx) })
		}
	}
	return t
}

// stop ends all connections.
func (t *traffic) stop() {
	t.cancel()
	for name, f := range t.floods {
		r := f.Wait()
		t.ledger.open(name, r.Opened)
	}
	t.talks.Wait()
}

// conversation is a connection that is held, and opened again when it fails or
// has had its pings.
type conversation struct {
	path    string
	from    *testnet.Host
	network string
	dst     netip.AddrPort
	pings   int // until it is opened anew; 0: never
	ledger  *ledger
}

func (c *conversation) run(ctx context.Context) {
	for ctx.Err() == nil {
		opened := time.Now()
		begin := opened
		if err := c.hold(ctx, &begin); err != nil {
			c.ledger.fail(c.path, opened, begin, err)
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// hold opens the connection and pings until something fails; begin is when what
// failed began.
func (c *conversation) hold(ctx context.Context, begin *time.Time) error {
	dial, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := c.from.DialContext(dial, c.network, c.dst.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	in := bufio.NewReader(conn)
	for n := 0; ctx.Err() == nil && (c.pings == 0 || n < c.pings); n++ {
		if n > 0 || c.network == "udp" {
			*begin = time.Now()
		}
		if err := c.ping(conn, in, n); err != nil {
			return err
		}
		if n == 0 {
			c.ledger.open(c.path, 1)
		}
		c.ledger.answer()
		pause(ctx, interval)
	}
	return nil
}

// ping sends a line and waits for one; the first of a TCP connection comes unasked.
func (c *conversation) ping(conn net.Conn, in *bufio.Reader, n int) error {
	deadline := time.Now().Add(patience)
	for {
		if n > 0 || c.network == "udp" {
			if _, err := conn.Write([]byte("?\n")); err != nil {
				return err
			}
		}
		until := deadline
		if next := time.Now().Add(resend); c.network == "udp" && next.Before(deadline) {
			until = next
		}
		if err := conn.SetReadDeadline(until); err != nil {
			return err
		}
		line, err := in.ReadString('\n')
		switch {
		case err == nil && strings.TrimSpace(line) == "":
			return errors.New("an empty line")
		case errors.Is(err, os.ErrDeadlineExceeded) && until.Before(deadline):
			continue
		default:
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
