package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/config/fleet"
	"github.com/kube-vmap/kube-vmap/proxy/health"
)

// serveFlags say where probes, load balancers and operators find the agent.
type serveFlags struct {
	healthz, metrics    string
	hardFail, profiling bool
	reportInterval      time.Duration
}

func (f *serveFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.healthz, "healthz-bind-address", health.DefaultHealthzAddress,
		"where /healthz, /livez and /readyz are served; an empty string: nowhere")
	fs.StringVar(&f.metrics, "metrics-bind-address", health.DefaultMetricsAddress,
		"where /metrics, /proxyMode and /configz are served; an empty string: nowhere")
	fs.BoolVar(&f.hardFail, "bind-address-hard-fail", false, "end if one of the two can't be bound, instead of trying again")
	fs.DurationVar(&f.reportInterval, "report-interval", fleet.DefaultInterval, "how often the node's ProxyNode is written at most")
	fs.BoolVar(&f.profiling, "profiling", false, "serve /debug/pprof/ at the metrics address")
}
