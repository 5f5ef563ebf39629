package main

import (
	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/proxy/health"
)

// serveFlags say where probes, load balancers and operators find the agent.
type serveFlags struct {
	healthz, metrics    string
	hardFail, profiling bool
}

func (f *serveFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.healthz, "healthz-bind-address", health.DefaultHealthzAddress,
		"where /healthz, /livez and /readyz are served; an empty string: nowhere")
	fs.StringVar(&f.metrics, "metrics-bind-address", health.DefaultMetricsAddress,
		"where /metrics, /proxyMode and /configz are served; an empty string: nowhere")
	fs.BoolVar(&f.hardFail, "bind-address-hard-fail", false, "end if one of the two can't be bound, instead of trying again")
	fs.BoolVar(&f.profiling, "profiling", false, "serve /debug/pprof/ at the metrics address")
}
