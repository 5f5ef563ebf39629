package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options of New.
type Options struct {
	Version  string // of this program, for kube_vmap_build_info
	Revision string // the commit it was built from; may be empty

	// Sets are the names of the table's sets and maps: their series exist from the
	// start, and Elements is cheap for them.
	Sets []string
}

// Metrics are the proxy's metrics. New makes them.
type Metrics struct {
	registry *prometheus.Registry
	kubeProxy
	own
}

// New makes the metrics, in a registry that also has those of the Go runtime and
// of the process.
func New(o Options) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m := &Metrics{registry: r, kubeProxy: newKubeProxy(r), own: newOwn(r, o.Sets)}
	registerBuildInfo(r, o)
	return m
}

// Register adds a collector, such as Connections. It panics if another one
// describes the same names.
func (m *Metrics) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Gatherer collects all metrics at once.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves the metrics in Prometheus' text format. A collector that fails
// costs its own metrics only; logError, which may be nil, hears of it.
//
// The OpenMetrics format is not offered: it writes the label le differently, which
// would make other series of the same histograms, and forbids kube-proxy's gauge
// whose name ends in _total.
func (m *Metrics) Handler(logError func(error)) http.Handler {
	opts := promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: m.registry}
	if logError != nil {
		opts.ErrorLog = errorLog(logError)
	}
	return promhttp.HandlerFor(m.registry, opts)
}

// errorLog makes promhttp's logger of a function.
type errorLog func(error)

// Println implements promhttp.Logger: the error is the last value.
func (log errorLog) Println(v ...any) {
	if err, ok := v[len(v)-1].(error); ok {
		log(err)
	}
}

func registerBuildInfo(r prometheus.Registerer, o Options) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_vmap_build_info",
		Help: "Always 1. The labels say what runs: version, revision (commit) and go_version.",
		ConstLabels: prometheus.Labels{
			"version": o.Version, "revision": o.Revision, "go_version": runtime.Version(),
		},
	})
	info.Set(1)
	r.MustRegister(info)
}

// timestamp is a time as Prometheus has it: seconds since 1970.
func timestamp(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// seconds is a duration that is not negative: a clock that went back must not
// make a histogram's sum sink.
func seconds(d time.Duration) float64 { return max(0, d.Seconds()) }
