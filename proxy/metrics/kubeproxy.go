package metrics

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// kubeProxy are the metrics with kube-proxy's names.
type kubeProxy struct {
	syncDuration     prometheus.Histogram
	syncFailures     prometheus.Counter
	lastSync         prometheus.Gauge
	lastQueued       prometheus.Gauge
	programming      [families]prometheus.Observer
	endpointChanges  prometheus.Counter
	endpointsPending prometheus.Gauge
	serviceChanges   prometheus.Counter
	servicesPending  prometheus.Gauge
	noLocal          [traffics][families]prometheus.Gauge
	healthz, livez   probeCounter
}

func newKubeProxy(r prometheus.Registerer) kubeProxy {
	k := kubeProxy{
		syncDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kubeproxy_sync_proxy_rules_duration_seconds",
			Help:    "How long a sync took: from taking the changes that wait to the kernel's last answer, both families together.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		syncFailures: counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
			"Syncs that failed and were retried."),
		lastSync: gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds",
			"When the last sync succeeded, in seconds since 1970."),
		lastQueued: gauge("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
			"When a change last came that needs a sync, in seconds since 1970. "+
				"Much later than the last sync's time: the proxy hangs."),
		endpointChanges: counter("kubeproxy_sync_proxy_rules_endpoint_changes_total",
			"Changes of EndpointSlices that were seen."),
		endpointsPending: gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending",
			"EndpointSlices with changes that wait for a sync."),
		serviceChanges: counter("kubeproxy_sync_proxy_rules_service_changes_total",
			"Changes of Services that were seen."),
		servicesPending: gauge("kubeproxy_sync_proxy_rules_service_changes_pending",
			"Services with changes that wait for a sync."),
		healthz: newProbeCounter(r, "kubeproxy_proxy_healthz_total", "Answers to /healthz, by HTTP status code."),
		livez:   newProbeCounter(r, "kubeproxy_proxy_livez_total", "Answers to /livez, by HTTP status code."),
	}
	r.MustRegister(k.syncDuration, k.syncFailures, k.lastSync, k.lastQueued,
		k.endpointChanges, k.endpointsPending, k.serviceChanges, k.servicesPending)
	k.registerByFamily(r)
	return k
}

func (k *kubeProxy) registerByFamily(r prometheus.Registerer) {
	programming := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kubeproxy_network_programming_duration_seconds",
		Help: "From the change of a Pod or Service, as the endpoint slice controller noted it in the slice " +
			"(endpoints.kubernetes.io/last-change-trigger-time), to the sync that programmed it. " +
			"Includes the difference between the two machines' clocks.",
		Buckets: programmingBuckets(),
	}, []string{"ip_family"})
	noLocal := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
		Help: "Service ports whose traffic policy is Local, that have endpoints but none usable on this node: " +
			"traffic_policy internal or external says which policy.",
	}, []string{"traffic_policy", "ip_family"})
	r.MustRegister(programming, noLocal)
	for f := range IPFamily(families) {
		k.programming[f] = programming.WithLabelValues(f.String())
		for t := range Traffic(traffics) {
			k.noLocal[t][f] = noLocal.WithLabelValues(t.String(), f.String())
		}
	}
}

// programmingBuckets are kube-proxy's, which begin with 0 because of how it
// merges them.
func programmingBuckets() []float64 {
	return slices.Concat(
		[]float64{0},
		prometheus.LinearBuckets(0.25, 0.25, 2),
		prometheus.LinearBuckets(1, 1, 59),
		prometheus.LinearBuckets(60, 5, 12),
		prometheus.LinearBuckets(120, 30, 7),
	)
}

// Sync tells how long a sync took, whether it succeeded or not.
func (k *kubeProxy) Sync(d time.Duration) { k.syncDuration.Observe(seconds(d)) }

// SyncFailed counts a sync that failed and will be retried.
func (k *kubeProxy) SyncFailed() { k.syncFailures.Inc() }

// Synced says when a sync succeeded.
func (k *kubeProxy) Synced(at time.Time) { k.lastSync.Set(timestamp(at)) }

// Queued says when a change came that needs a sync.
func (k *kubeProxy) Queued(at time.Time) { k.lastQueued.Set(timestamp(at)) }

// Programmed tells how long after the change that triggered a slice the slice's
// endpoints were in the kernel: once per slice and change.
func (k *kubeProxy) Programmed(f IPFamily, d time.Duration) { k.programming[f].Observe(seconds(d)) }

// EndpointChanges counts changes of EndpointSlices.
func (k *kubeProxy) EndpointChanges(n int) { k.endpointChanges.Add(float64(n)) }

// EndpointChangesPending says how many slices have changes that wait for a sync.
func (k *kubeProxy) EndpointChangesPending(n int) { k.endpointsPending.Set(float64(n)) }

// ServiceChanges counts changes of Services.
func (k *kubeProxy) ServiceChanges(n int) { k.serviceChanges.Add(float64(n)) }

// ServiceChangesPending says how many Services have changes that wait for a sync.
func (k *kubeProxy) ServiceChangesPending(n int) { k.servicesPending.Set(float64(n)) }

// NoLocalEndpoints says how many service ports have the policy Local for this
// traffic and endpoints, but none that is local and usable.
func (k *kubeProxy) NoLocalEndpoints(t Traffic, f IPFamily, servicePorts int) {
	k.noLocal[t][f].Set(float64(servicePorts))
}

// Healthz counts an answer to /healthz: status 200 or 503.
func (k *kubeProxy) Healthz(status int) { k.healthz.inc(status) }

// Livez counts an answer to /livez: status 200 or 503.
func (k *kubeProxy) Livez(status int) { k.livez.inc(status) }

// probeCounter counts answers by status.
type probeCounter struct{ ok, unavailable prometheus.Counter }

func newProbeCounter(r prometheus.Registerer, name, help string) probeCounter {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"code"})
	r.MustRegister(v)
	return probeCounter{ok: v.WithLabelValues("200"), unavailable: v.WithLabelValues("503")}
}

func (p *probeCounter) inc(status int) {
	if status == http.StatusOK {
		p.ok.Inc()
	} else {
		p.unavailable.Inc()
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}
