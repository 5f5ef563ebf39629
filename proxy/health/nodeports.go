package health

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// nodePorts answers health checks of Services. One goroutine, run's, owns the
// listeners; others leave what they want in the mailbox.
type nodePorts struct {
	state  *State
	listen ListenFunc
	failed func(*BindError)
	log    logr.Logger

	poke    chan struct{}
	mu      sync.Mutex // guards the mailbox
	mailbox mailbox

	// answers is what handlers read: by port.
	answers atomic.Pointer[map[uint16]answer]

	// What follows is run's.
	open    map[uint16]*nodePort
	failing map[bindKey]time.Time // when the failure was last reported
	retry   backoff
	tasks   sync.WaitGroup // servers that serve, and those that finish their answers
}

type mailbox struct {
	services map[model.ServiceName]Service
	addrs    []netip.Addr
	ended    []net.Listener // that failed while they were open
}

// nodePort is an open port: one server with a listener for each address.
type nodePort struct {
	server    *http.Server
	listeners map[netip.Addr]net.Listener
}

// bindKey names one bind. The address is unset where another Service has the port.
type bindKey struct {
	service model.ServiceName
	at      netip.AddrPort
}

func newNodePorts(o *Options, listen ListenFunc) *nodePorts {
	n := &nodePorts{
		state: o.State, listen: listen, failed: o.BindFailed, log: o.Log,
		poke: make(chan struct{}, 1), open: map[uint16]*nodePort{}, failing: map[bindKey]time.Time{},
	}
	n.answers.Store(&map[uint16]answer{})
	return n
}

func (n *nodePorts) setServices(services map[model.ServiceName]Service) {
	n.post(func(m *mailbox) { m.services = services })
}

func (n *nodePorts) setAddrs(addrs []netip.Addr) {
	n.post(func(m *mailbox) { m.addrs = addrs })
}

func (n *nodePorts) post(change func(*mailbox)) {
	n.mu.Lock()
	change(&n.mailbox)
	n.mu.Unlock()
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

func (n *nodePorts) take() mailbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.mailbox
	n.mailbox.ended = nil
	return m
}

// run keeps the wanted ports open until the context ends.
func (n *nodePorts) run(ctx context.Context) {
	defer n.closeAll()
	var retry <-chan time.Time
	for {
		again := false
		select {
		case <-ctx.Done():
			return
		case <-n.poke:
		case <-retry:
			again = true
		}
		switch failed := n.update(ctx, n.take(), again); {
		case !failed:
			n.retry.reset()
			retry = nil
		case again || retry == nil:
			retry = time.After(n.retry.next())
		}
	}
}

// update opens and closes what is needed for what is wanted. What failed before
// is tried only again. It reports whether anything has to be tried again.
func (n *nodePorts) update(ctx context.Context, want mailbox, again bool) (failed bool) {
	answers, losers := assign(want.services, *n.answers.Load())
	n.answers.Store(&answers)
	addrs := unmapped(want.addrs)
	n.drop(want.ended)
	n.closeUnwanted(answers, addrs)

	failing := map[bindKey]time.Time{}
	for name, port := range losers {
		err := fmt.Errorf("the port belongs to Service %s: give one of them another spec.healthCheckNodePort", answers[port].service)
		n.report(failing, bindKey{service: name, at: netip.AddrPortFrom(netip.Addr{}, port)}, err)
	}
	for port, a := range answers {
		for _, addr := range addrs {
			key := bindKey{service: a.service, at: netip.AddrPortFrom(addr, port)}
			if !n.isOpen(key.at) && !n.tryOpen(ctx, key, failing, again) {
				failed = true
			}
		}
	}
	n.failing = failing
	return failed
}

// tryOpen opens one address of a port, or notes that it failed.
func (n *nodePorts) tryOpen(ctx context.Context, key bindKey, failing map[bindKey]time.Time, again bool) bool {
	if reported, before := n.failing[key]; before && !again {
		failing[key] = reported
		return false
	}
	err := n.openOne(ctx, key.at)
	if err != nil {
		n.report(failing, key, err)
	}
	return err == nil
}

// report notes a failure, and tells of it if it is time.
func (n *nodePorts) report(failing map[bindKey]time.Time, key bindKey, err error) {
	reported := n.failing[key]
	if due(reported) {
		reported = time.Now()
		failure := &BindError{Server: "healthCheckNodePort", Service: key.service, Address: key.String(), Err: err}
		n.log.Error(failure, "can't answer health checks, will try again")
		n.failed(failure)
	}
	failing[key] = reported
}

// String is host:port, or :port.
func (k bindKey) String() string {
	if !k.at.Addr().IsValid() {
		return fmt.Sprintf(":%d", k.at.Port())
	}
	return k.at.String()
}

// unmapped makes IPv4 addresses of IPv4-mapped ones.
func unmapped(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if a = a.Unmap(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func (n *nodePorts) isOpen(at netip.AddrPort) bool {
	p := n.open[at.Port()]
	return p != nil && p.listeners[at.Addr()] != nil
}

// openOne binds one address and serves there.
func (n *nodePorts) openOne(ctx context.Context, at netip.AddrPort) error {
	network := "tcp6"
	if at.Addr().Is4() {
		network = "tcp4"
	}
	listener, err := n.listen(network, at.String())
	if err != nil {
		return err
	}
	p := n.open[at.Port()]
	if p == nil {
		p = &nodePort{server: newServer(n.handler(at.Port()), n.log), listeners: map[netip.Addr]net.Listener{}}
		n.open[at.Port()] = p
	}
	p.listeners[at.Addr()] = listener
	n.log.V(2).Info("listening", "server", "healthCheckNodePort", "address", at.String())
	n.tasks.Go(func() { n.serve(ctx, p.server, listener) })
	return nil
}

// serve serves until the listener is closed. One that fails by itself is handed
// back after a pause, so that a fault that stays doesn't spin.
func (n *nodePorts) serve(ctx context.Context, server *http.Server, listener net.Listener) {
	err := server.Serve(listener)
	if isClosed(err) {
		return
	}
	n.log.Error(err, "listener failed", "server", "healthCheckNodePort", "address", listener.Addr().String())
	var pause backoff
	if pause.sleep(ctx) {
		n.post(func(m *mailbox) { m.ended = append(m.ended, listener) })
	}
}

// drop forgets listeners that failed.
func (n *nodePorts) drop(ended []net.Listener) {
	for _, p := range n.open {
		maps.DeleteFunc(p.listeners, func(_ netip.Addr, l net.Listener) bool { return slices.Contains(ended, l) })
	}
}

// closeUnwanted frees ports and addresses. When it returns they can be bound
// again; answers that have begun go on.
func (n *nodePorts) closeUnwanted(answers map[uint16]answer, addrs []netip.Addr) {
	for port, p := range n.open {
		_, wanted := answers[port]
		maps.DeleteFunc(p.listeners, func(a netip.Addr, l net.Listener) bool {
			if wanted && slices.Contains(addrs, a) {
				return false
			}
			_ = l.Close() // nothing is left to do about an error
			return true
		})
		if len(p.listeners) == 0 {
			n.tasks.Go(func() { finish(p.server) })
			delete(n.open, port)
		}
	}
}

func (n *nodePorts) closeAll() {
	n.closeUnwanted(nil, nil)
	n.tasks.Wait()
}
