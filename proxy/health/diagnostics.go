package health

import (
	"io"
	"net/http"
	"net/http/pprof"
)

// newDiagnostics serves the paths of the metrics address.
func newDiagnostics(o *Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", text("ok")) // the process answers; as kube-proxy's, it says no more
	mux.HandleFunc("/proxyMode", text("nftables"))
	if o.Metrics != nil {
		mux.Handle("/metrics", o.Metrics)
	}
	if o.Configz != nil {
		mux.HandleFunc("/configz", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, o.Configz())
		})
	}
	if o.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	for pattern, handler := range o.Handlers {
		mux.Handle(pattern, handler)
	}
	return mux
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, body) // the client may be gone
	}
}
