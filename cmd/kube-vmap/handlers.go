package main

import (
	"encoding/json"
	"net/http"

	"github.com/kube-vmap/kube-vmap/proxy"
)

// handlers are what the agent answers to the other subcommands, at the metrics
// address.
func (a *agent) handlers(p *proxy.Proxy) map[string]http.Handler {
	return map[string]http.Handler{
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
		"GET /diff": answer(func(r *http.Request) (any, error) { return p.Differences(r.Context()) }),
		"GET /desired": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			table, err := p.Desired(r.Context())
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_ = table.WriteText(w) // the client may be gone
		}),
		"GET /log":    a.recent,
		"GET /events": &a.recentEvents.lines,
	}
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
