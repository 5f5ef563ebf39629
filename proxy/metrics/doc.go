// Package metrics holds what the proxy measures, in one registry of its own.
//
// The methods of Metrics take plain values and may be called from any goroutine.
// Those of the loop's hot path allocate nothing: every series with known labels
// is made by New.
//
// Where the meaning is the same as kube-proxy's (pkg/proxy/metrics of Kubernetes
// 1.37), names, labels and buckets are kube-proxy's, so that dashboards and alerts
// go on working. What belongs to a whole sync has no label ip_family here, since
// one transaction carries both families: two series would count it twice. All
// other names begin with kube_vmap_. docs/metrics.md lists them; its test writes it.
package metrics
