package health

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// The addresses that kube-proxy uses too. The first means both families.
const (
	DefaultHealthzAddress = ":10256"
	DefaultMetricsAddress = "127.0.0.1:10249"
)

// Options of New.
type Options struct {
	State *State // required

	// HealthzAddress serves /healthz, /livez and /readyz; empty: nowhere. An
	// unspecified address ("", 0.0.0.0, ::) means all addresses of both families.
	HealthzAddress string

	// MetricsAddress serves /metrics, /healthz, /proxyMode, /configz and Handlers;
	// empty: nowhere.
	MetricsAddress string

	// BindHardFail makes Run fail if one of these two can't be bound, instead of
	// trying again.
	BindHardFail bool

	Metrics   http.Handler            // /metrics; nil: not found
	Configz   func() any              // what /configz encodes as JSON, from any goroutine; nil: not found
	Profiling bool                    // serve /debug/pprof/ at the metrics address
	Handlers  map[string]http.Handler // further patterns (of http.ServeMux) at the metrics address
	Probes    ProbeCounter            // counts answers to probes; may be nil

	// BindFailed hears of addresses that can't be bound: when it begins, and every
	// ten minutes while it goes on. It must not block. May be nil.
	BindFailed func(*BindError)

	// Listen opens all listeners; nil: Listen, and ListenFree for node ports.
	Listen ListenFunc
	Log    logr.Logger
}

// Servers are the HTTP servers. New makes them, Run runs them once; the other
// methods may be called at any time, also before Run, and return at once.
type Servers struct {
	options   Options
	listen    ListenFunc
	nodePorts *nodePorts
}

// New makes servers. It starts nothing.
func New(o Options) *Servers {
	if o.Probes == nil {
		o.Probes = uncounted{}
	}
	if o.BindFailed == nil {
		o.BindFailed = func(*BindError) {}
	}
	listen, listenFree := o.Listen, o.Listen
	if o.Listen == nil {
		listen, listenFree = Listen, ListenFree
	}
	return &Servers{options: o, listen: listen, nodePorts: newNodePorts(&o, listenFree)}
}

// SetServices says for which Services health-check node ports are answered, and
// with what: all of them, when anything about them has changed. The map must not
// be changed afterwards.
func (s *Servers) SetServices(services map[model.ServiceName]Service) {
	s.nodePorts.setServices(services)
}

// SetNodeAddrs says on which addresses health-check node ports are answered. The
// slice must not be changed afterwards.
func (s *Servers) SetNodeAddrs(addrs []netip.Addr) { s.nodePorts.setAddrs(addrs) }

// Run serves until the context ends and returns nil then, at the latest a second
// later: answers that have begun are finished. It fails only with BindHardFail,
// and then with a *BindError.
func (s *Servers) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		tasks sync.WaitGroup
		once  sync.Once
		fatal error
	)
	for _, f := range s.fixed() {
		tasks.Go(func() {
			if err := s.serve(ctx, f); err != nil {
				once.Do(func() { fatal = err })
				cancel()
			}
		})
	}
	tasks.Go(func() { s.nodePorts.run(ctx) })
	tasks.Wait()
	return fatal
}

// fixed is a server on one address.
type fixed struct {
	name, address string
	server        *http.Server
	retry         backoff
	reported      time.Time // when the failure that goes on was last reported; zero: none goes on
}

func (s *Servers) fixed() []*fixed {
	o := &s.options
	var list []*fixed
	if o.HealthzAddress != "" {
		server := newServer(newProbes(o.State, o.Probes), o.Log)
		list = append(list, &fixed{name: "healthz", address: o.HealthzAddress, server: server})
	}
	if o.MetricsAddress != "" {
		server := newServer(newDiagnostics(o), o.Log)
		// A profile takes as long as its client asks for.
		server.ReadTimeout, server.WriteTimeout, server.ReadHeaderTimeout = 0, 0, readTimeout
		list = append(list, &fixed{name: "metrics", address: o.MetricsAddress, server: server})
	}
	return list
}

// serve serves until the context ends, and binds the address again and again if
// it must.
func (s *Servers) serve(ctx context.Context, f *fixed) error {
	for {
		err := s.serveOnce(ctx, f)
		if ctx.Err() != nil {
			return nil
		}
		failure := &BindError{Server: f.name, Address: f.address, Err: err}
		if s.options.BindHardFail {
			return failure
		}
		if due(f.reported) {
			f.reported = time.Now()
			s.options.Log.Error(failure, "can't serve, will try again")
			s.options.BindFailed(failure)
		}
		if !f.retry.sleep(ctx) {
			return nil
		}
	}
}

// serveOnce binds and serves until the context ends or something fails. Its error
// means nothing if the context ended.
func (s *Servers) serveOnce(ctx context.Context, f *fixed) error {
	listener, err := s.listen("tcp", f.address)
	if err != nil {
		return err
	}
	s.options.Log.Info("listening", "server", f.name, "address", listener.Addr().String())
	f.retry.reset()
	f.reported = time.Time{}
	failed := make(chan error, 1)
	go func() { failed <- f.server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		finish(f.server)
		return <-failed // http.ErrServerClosed
	}
}

// Limits of a client: questions and answers are small, and load balancers ask
// again and again over one connection. The ports are open to the node's networks.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 5 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 8 << 10
)

func newServer(handler http.Handler, log logr.Logger) *http.Server {
	return &http.Server{
		Handler:        handler,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// Clients that break off are no news.
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(log.V(4)), slog.LevelInfo),
	}
}

// grace is how long answers that have begun may take after the end.
const grace = time.Second

// finish closes the server's listeners at once and lets it finish its answers.
func finish(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // nothing is left to do about an error
	}
}

// isClosed reports whether a server ended because we closed it or its listener.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed)
}
