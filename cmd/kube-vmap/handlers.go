package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy"
)

// handlers are what the agent answers to the other subcommands, at the metrics
// address, on this host only: unlike metrics, names and addresses of Services and
// the log are not for the network.
func (a *agent) handlers(p *proxy.Proxy) map[string]http.Handler {
	costly := &throttle{pause: time.Second}
	handlers := map[string]http.Handler{
		"GET /status": answer(func(r *http.Request) (any, error) {
			status, err := p.Status(r.Context())
			return agentStatus{Version: version, Status: status}, err
		}),
		"GET /objects": answer(func(r *http.Request) (any, error) {
			frontend, err := parseFrontend(r.URL.Query().Get("to"))
			if err != nil {
				return nil, err
			}
			return p.Objects(r.Context(), frontend)
		}),
		"GET /diff":    costly.limit(answer(func(r *http.Request) (any, error) { return p.Differences(r.Context()) })),
		"GET /desired": costly.limit(desiredTable(p)),
		"GET /log":     a.recent,
		"GET /events":  &a.recentEvents.lines,
	}
	for pattern, handler := range handlers {
		handlers[pattern] = onlyLocal(handler)
	}
	return handlers
}

// onlyLocal answers clients on this host.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !client.Addr().Unmap().IsLoopback() {
			http.Error(w, "only for clients on this host", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// throttle answers one request at a time, with a pause between: they hold up the
// loop, and anybody on the host may ask.
type throttle struct {
	mu    sync.Mutex
	pause time.Duration
	next  time.Time
}

func (t *throttle) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Until(t.next)):
		}
		next.ServeHTTP(w, r)
		t.next = time.Now().Add(t.pause)
	})
}

// desiredTable serves the table as it should be, as nft loads it.
func desiredTable(p *proxy.Proxy) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		table, err := p.Desired(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = table.WriteText(w) // the client may be gone
	})
}

// agentStatus is what /status answers.
type agentStatus struct {
	Version string `json:"version"`
	proxy.Status
}

// answer serves a value as JSON.
func answer(value func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := value(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(v) // the client may be gone
	})
}
