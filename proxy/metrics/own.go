package metrics

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// own are the metrics that kube-proxy doesn't have.
type own struct {
	phase       [phases]prometheus.Observer
	transaction [results]prometheus.Counter
	operations  prometheus.Histogram
	elements    *prometheus.GaugeVec
	elementsOf  map[string]prometheus.Gauge // not changed after New

	repairs     prometheus.Counter
	foreign     foreignChanges
	quarantined prometheus.Gauge
	conflicts   prometheus.Gauge
	ignored     prometheus.Gauge

	conntrackDeleted prometheus.Counter
	bindings         [families]prometheus.Gauge
	bindingsLimit    [families]prometheus.Gauge
	affinityFull     [families]prometheus.Counter

	ready   prometheus.Gauge
	refused prometheus.Gauge
}

func newOwn(r prometheus.Registerer, sets []string) own {
	o := own{
		operations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kube_vmap_transaction_operations",
			Help:    "Operations of a transaction: elements, rules, chains and sets added or deleted.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}),
		repairs: counter("kube_vmap_repairs_total",
			"Times the table was found different from what was committed, and repaired."),
		quarantined: gauge("kube_vmap_quarantined_objects",
			"API objects of which something can't be used; the object's events and the log say what."),
		conflicts: gauge("kube_vmap_conflicts",
			"Frontends (address, protocol, port) that a service port wants and does not get, since an older Service has them."),
		ignored: gauge("kube_vmap_external_ips_ignored",
			"Addresses in the spec.externalIPs of Services that the node's policy (--external-ips) excludes."),
		ready: gauge("kube_vmap_ready", "1 once the table has been complete, else 0."),
		refused: gauge("kube_vmap_configuration_refused",
			"1 while a ProxyConfig or the file of --config is refused and the last good configuration stays in force, else 0."),
	}
	r.MustRegister(o.operations, o.repairs, o.quarantined, o.conflicts, o.ignored, o.ready, o.refused)
	o.registerSync(r)
	o.registerElements(r, sets)
	o.registerByFamily(r)
	o.foreign = newForeignChanges(r)
	return o
}

func (o *own) registerSync(r prometheus.Registerer) {
	phase := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kube_vmap_sync_phase_duration_seconds",
		Help: "How long the parts of a sync took, by phase: read (the table from the kernel), " +
			"compute (what frontends want, and the difference), commit (the kernel applies it).",
		Buckets: prometheus.ExponentialBuckets(10e-6, 2, 20),
	}, []string{"phase"})
	transactions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kube_vmap_transactions_total",
		Help: "Transactions by result: committed, rejected (nothing was applied), " +
			"uncertain (an answer was lost; the table is read before the next one).",
	}, []string{"result"})
	r.MustRegister(phase, transactions)
	for p := range Phase(phases) {
		o.phase[p] = phase.WithLabelValues(p.String())
	}
	for t := range Result(results) {
		o.transaction[t] = transactions.WithLabelValues(t.String())
	}
}

func (o *own) registerElements(r prometheus.Registerer, sets []string) {
	o.elements = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kube_vmap_elements",
		Help: "Elements of the table's sets and maps, by the name of the set or map.",
	}, []string{"map"})
	r.MustRegister(o.elements)
	o.elementsOf = make(map[string]prometheus.Gauge, len(sets))
	for _, set := range sets {
		o.elementsOf[set] = o.elements.WithLabelValues(set)
	}
}

func (o *own) registerByFamily(r prometheus.Registerer) {
	label := []string{"ip_family"}
	o.conntrackDeleted = counter("kube_vmap_conntrack_deleted_total",
		"Conntrack entries that were deleted because their backend no longer serves, none did before, or the table was damaged.")
	r.MustRegister(o.conntrackDeleted)
	bindings := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kube_vmap_affinity_bindings",
		Help: "Session-affinity bindings of clients to backends, when they were last counted.",
	}, label)
	limit := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kube_vmap_affinity_bindings_limit",
		Help: "Most session-affinity bindings that the map holds.",
	}, label)
	full := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kube_vmap_affinity_full_total",
		Help: "Times the map of bindings was found full: connections of new clients are then balanced without affinity.",
	}, label)
	r.MustRegister(bindings, limit, full)
	for f := range IPFamily(families) {
		o.bindings[f] = bindings.WithLabelValues(f.String())
		o.bindingsLimit[f] = limit.WithLabelValues(f.String())
		o.affinityFull[f] = full.WithLabelValues(f.String())
	}
}

// Phase tells how long a part of a sync took.
func (o *own) Phase(p Phase, d time.Duration) { o.phase[p].Observe(seconds(d)) }

// Transaction counts a transaction and its operations.
func (o *own) Transaction(r Result, operations int) {
	o.transaction[r].Inc()
	o.operations.Observe(float64(operations))
}

// Elements says how many elements a set or map has. It is cheap for those that
// were named to New.
func (o *own) Elements(set string, n int) {
	g, ok := o.elementsOf[set]
	if !ok {
		g = o.elements.WithLabelValues(set)
	}
	g.Set(float64(n))
}

// Repair counts that the table differed from what was committed.
func (o *own) Repair() { o.repairs.Inc() }

// ForeignChange counts a transaction of another process that touched the table,
// by the process's name as the kernel has it (comm, up to 15 bytes).
func (o *own) ForeignChange(process string) { o.foreign.inc(process) }

// Quarantined says how many API objects have problems.
func (o *own) Quarantined(objects int) { o.quarantined.Set(float64(objects)) }

// Conflicts says how many wanted frontends belong to an older Service.
func (o *own) Conflicts(frontends int) { o.conflicts.Set(float64(frontends)) }

// ExternalIPsIgnored says how many external IPs of Services the node's policy
// excludes.
func (o *own) ExternalIPsIgnored(addresses int) { o.ignored.Set(float64(addresses)) }

// ConntrackDeleted counts conntrack entries that were deleted.
func (o *own) ConntrackDeleted(n int) { o.conntrackDeleted.Add(float64(n)) }

// AffinityBindings tells the result of counting the bindings, of which the map
// holds limit at most.
func (o *own) AffinityBindings(f IPFamily, n, limit int) {
	o.bindings[f].Set(float64(n))
	o.bindingsLimit[f].Set(float64(limit))
	if n >= limit {
		o.affinityFull[f].Inc()
	}
}

// Ready says whether the table has been complete.
func (o *own) Ready(ready bool) { setBool(o.ready, ready) }

// ConfigurationRefused says whether something that configures the node is refused.
func (o *own) ConfigurationRefused(refused bool) { setBool(o.refused, refused) }

func setBool(g prometheus.Gauge, is bool) {
	if is {
		g.Set(1)
	} else {
		g.Set(0)
	}
}

// foreignChanges counts by process name. Names come from outside, so only the
// first mostProcesses get a series; the rest share "other".
type foreignChanges struct {
	vec       *prometheus.CounterVec
	mu        *sync.Mutex
	processes map[string]struct{}
}

const (
	mostProcesses  = 20
	otherProcesses = "other"
)

func newForeignChanges(r prometheus.Registerer) foreignChanges {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kube_vmap_foreign_changes_total",
		Help: "Changes of the table by other processes, by the name of the process; " +
			`after 20 different names the rest count as "other".`,
	}, []string{"process"})
	r.MustRegister(vec)
	return foreignChanges{vec: vec, mu: &sync.Mutex{}, processes: map[string]struct{}{}}
}

func (f *foreignChanges) inc(process string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.processes[process]; !known {
		if len(f.processes) < mostProcesses {
			f.processes[process] = struct{}{}
		} else {
			process = otherProcesses
		}
	}
	// A process's name is any bytes, a label is UTF-8.
	f.vec.WithLabelValues(strings.ToValidUTF8(process, "?")).Inc()
}
