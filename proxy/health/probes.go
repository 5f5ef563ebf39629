package health

import (
	"encoding/json"
	"net/http"
	"time"
)

// ProbeCounter counts answers to probes by their HTTP status: 200 or 503.
// metrics.Metrics is one.
type ProbeCounter interface {
	Healthz(status int)
	Livez(status int)
}

// probeAnswer is the body of an answer, with kube-proxy's field names
// (pkg/proxy/healthcheck/proxy_health.go of Kubernetes 1.37); ready is ours.
// kube-proxy's status per address family is left out: here one sync serves both.
type probeAnswer struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
	Healthy      bool      `json:"healthy"`
	Ready        *bool     `json:"ready,omitempty"`
}

// newProbes serves the paths of the health address.
func newProbes(state *State, count ProbeCounter) http.Handler {
	mux := http.NewServeMux()
	// Whether load balancers should send traffic to this node (KEP-3836).
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		h := state.Health(now)
		a := newProbeAnswer(&h, now)
		a.NodeEligible = &h.NodeEligible
		count.Healthz(a.write(w, h.Healthy && h.NodeEligible))
	})
	// Whether the kubelet should restart the proxy.
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		h := state.Health(now)
		a := newProbeAnswer(&h, now)
		count.Livez(a.write(w, h.Healthy))
	})
	// Whether a rollout may go on to the next node.
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		h := state.Health(now)
		a := newProbeAnswer(&h, now)
		a.Ready = &h.Ready
		a.write(w, h.Ready)
	})
	return mux
}

func newProbeAnswer(h *Health, now time.Time) *probeAnswer {
	return &probeAnswer{LastUpdated: h.LastUpdated, CurrentTime: now, Healthy: h.Healthy}
}

// write answers and returns the status. A good answer says that all was up to
// date just now, as kube-proxy's does: readers take an old lastUpdated for a
// failure, though nothing may have changed since.
func (a *probeAnswer) write(w http.ResponseWriter, good bool) (status int) {
	status = http.StatusServiceUnavailable
	if good {
		status = http.StatusOK
		a.LastUpdated = a.CurrentTime
	}
	writeJSON(w, status, a)
	return status
}

// writeJSON answers with a value that json can encode.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// uncounted is a ProbeCounter for those who don't count.
type uncounted struct{}

func (uncounted) Healthz(int) {}
func (uncounted) Livez(int)   {}
