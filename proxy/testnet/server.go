package testnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// Server answers clients with its name and the address it saw them come from.
type Server struct {
	name  string
	hits  atomic.Uint64
	tasks sync.WaitGroup

	mu     sync.Mutex
	open   map[io.Closer]struct{} // listeners and connections
	closed bool
}

// Name is what the server calls itself.
func (s *Server) Name() string { return s.name }

// Hits counts connections accepted, datagrams and INIT chunks received, and HTTP requests.
func (s *Server) Hits() uint64 { return s.hits.Load() }

// Close stops the server and resets its connections.
func (s *Server) Close() error {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for c := range open {
		c.Close()
	}
	s.tasks.Wait()
	return nil
}

// hold keeps c to be closed with the server, and reports false if that is the
// case already.
func (s *Server) hold(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *Server) letGo(c io.Closer) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	c.Close()
}

// greeting is the line a server tells a client.
func greeting(server string, client netip.AddrPort) []byte {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	return fmt.Appendf(nil, "%s %s\n", server, client)
}

func parseGreeting(line []byte) (server string, client netip.AddrPort, err error) {
	name, addr, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	if ok {
		client, err = netip.ParseAddrPort(addr)
	}
	if !ok || err != nil {
		return "", netip.AddrPort{}, fmt.Errorf("parse answer %q: not a server's line", line)
	}
	return name, client, nil
}

// Serve starts a server with the host's name on a port of all its addresses.
func (h *Host) Serve(p Protocol, port uint16) (*Server, error) {
	return h.ServeAs(h.name, p, h.on(port)...)
}

// ServeAs starts a server with a name on the given addresses.
func (h *Host) ServeAs(name string, p Protocol, at ...netip.AddrPort) (*Server, error) {
	return h.serve(name, at, func(s *Server, addr netip.AddrPort) error {
		switch p {
		case TCP:
			return s.listenTCP(h, addr)
		case UDP:
			return s.listenUDP(h, addr)
		case SCTP:
			return s.listenSCTP(h, addr)
		}
		return fmt.Errorf("protocol %s: only TCP, UDP and SCTP have servers", p)
	})
}

// ServeHTTP starts an HTTP server on a port of all the host's addresses. It
// answers each request with its line.
func (h *Host) ServeHTTP(port uint16) (*Server, error) {
	return h.serve(h.name, h.on(port), func(s *Server, addr netip.AddrPort) error {
		return s.listenHTTP(h, addr)
	})
}

func (h *Host) on(port uint16) []netip.AddrPort {
	var at []netip.AddrPort
	for _, a := range h.Addrs() {
		at = append(at, netip.AddrPortFrom(a, port))
	}
	return at
}

func (h *Host) serve(name string, at []netip.AddrPort, listen func(*Server, netip.AddrPort) error) (*Server, error) {
	s := &Server{name: name, open: map[io.Closer]struct{}{}}
	if strings.ContainsAny(name, " \n") || name == "" {
		return nil, fmt.Errorf("serve: the name %q is empty or has spaces", name)
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("serve as %s on %s: no address to listen on", name, h.name)
	}
	for _, addr := range at {
		if err := listen(s, addr); err != nil {
			return nil, errors.Join(fmt.Errorf("serve as %s on %s: %w", name, h.name, err), s.Close())
		}
	}
	return s, h.own(s)
}

func (s *Server) listenTCP(h *Host, at netip.AddrPort) error {
	ln, err := h.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	s.hold(ln)
	s.tasks.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			s.hits.Add(1)
			s.tasks.Go(func() { s.talk(conn.(*net.TCPConn)) })
		}
	})
	return nil
}

// talk tells a client the line and then echoes until the client is gone.
func (s *Server) talk(conn *net.TCPConn) {
	if !s.hold(conn) {
		return
	}
	defer s.letGo(conn)
	if err := conn.SetLinger(0); err != nil { // leaves no TIME_WAIT behind
		return
	}
	client := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	if _, err := conn.Write(greeting(s.name, client)); err != nil {
		return
	}
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (s *Server) listenUDP(h *Host, at netip.AddrPort) error {
	pc, err := h.ListenPacket("udp", at.String())
	if err != nil {
		return err
	}
	conn := pc.(*net.UDPConn)
	s.hold(conn)
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			_, client, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				s.hits.Add(1)
				conn.WriteToUDPAddrPort(greeting(s.name, client), client) //nolint:errcheck // the client sees that nothing comes
			}
		}
	})
	return nil
}

func (s *Server) listenHTTP(h *Host, at netip.AddrPort) error {
	ln, err := h.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		w.Write(greeting(s.name, client)) //nolint:errcheck // the client sees that nothing comes
	})}
	s.hold(server)
	s.tasks.Go(func() { server.Serve(ln) }) //nolint:errcheck // ends when it is closed
	return nil
}

// Listen listens in the host's namespace, as net.Listen does.
func (h *Host) Listen(network, address string) (ln net.Listener, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	err = h.Do(func() error {
		ln, err = config.Listen(context.Background(), network, address)
		return err
	})
	return ln, err
}

// ListenPacket listens in the host's namespace, as net.ListenPacket does.
func (h *Host) ListenPacket(network, address string) (pc net.PacketConn, err error) {
	err = h.Do(func() error {
		pc, err = net.ListenPacket(network, address)
		return err
	})
	return pc, err
}
