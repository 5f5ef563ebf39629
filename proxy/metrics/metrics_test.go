package metrics_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/metrics"
)

// scrape asks as Prometheus does and returns the lines that are samples.
func scrape(t *testing.T, m *metrics.Metrics) []string {
	t.Helper()
	server := httptest.NewServer(m.Handler(func(err error) { t.Logf("handler: %v", err) }))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return slices.DeleteFunc(strings.Split(string(body), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "#")
	})
}

func expect(t *testing.T, lines []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(lines, w) {
			name, _, _ := strings.Cut(w, "{")
			name, _, _ = strings.Cut(name, " ")
			t.Errorf("%s is missing; there is:\n%s", w, strings.Join(withPrefix(lines, name), "\n"))
		}
	}
}

func withPrefix(lines []string, prefix string) []string {
	var found []string
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			found = append(found, line)
		}
	}
	return found
}

// feed uses every method once.
func feed(m *metrics.Metrics) {
	m.Sync(3 * time.Millisecond)
	m.SyncFailed()
	m.Synced(time.Unix(1000, 5e8))
	m.Queued(time.Unix(2000, 0))
	m.Programmed(metrics.IPv6, 700*time.Millisecond)
	m.Programmed(metrics.IPv4, -time.Hour)
	m.EndpointChanges(3)
	m.EndpointChangesPending(2)
	m.ServiceChanges(5)
	m.ServiceChangesPending(4)
	m.NoLocalEndpoints(metrics.External, metrics.IPv4, 7)
	m.Healthz(200)
	m.Livez(503)
	m.Phase(metrics.Commit, 9*time.Microsecond)
	m.Transaction(metrics.Rejected, 17)
	m.Elements("backends4", 11)
	m.Elements("unforeseen", 12)
	m.Repair()
	m.ForeignChange("nft")
	m.Quarantined(6)
	m.Conflicts(8)
	m.ExternalIPsIgnored(13)
	m.ConntrackDeleted(9)
	m.AffinityBindings(metrics.IPv4, 10, 100)
	m.AffinityBindings(metrics.IPv6, 100, 100)
	m.Ready(true)
}

func TestEachMethodReachesItsMetric(t *testing.T) {
	m := metrics.New(metrics.Options{Version: "v1", Revision: "abc", Sets: []string{"services4", "backends4"}})
	feed(m)
	expect(t, scrape(t, m),
		`kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.002"} 0`,
		`kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.004"} 1`,
		`kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="16.384"} 1`,
		`kubeproxy_sync_proxy_rules_nftables_sync_failures_total 1`,
		`kubeproxy_sync_proxy_rules_last_timestamp_seconds 1000.5`,
		`kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 2000`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv6",le="0.5"} 0`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv6",le="1"} 1`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="0"} 1`,
		`kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"} 0`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="300"} 1`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_total 3`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_pending 2`,
		`kubeproxy_sync_proxy_rules_service_changes_total 5`,
		`kubeproxy_sync_proxy_rules_service_changes_pending 4`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 7`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv6",traffic_policy="internal"} 0`,
		`kubeproxy_proxy_healthz_total{code="200"} 1`,
		`kube_vmap_external_ips_ignored 13`,
		`kubeproxy_proxy_healthz_total{code="503"} 0`,
		`kubeproxy_proxy_livez_total{code="503"} 1`,
		`kube_vmap_sync_phase_duration_seconds_bucket{phase="commit",le="1e-05"} 1`,
		`kube_vmap_sync_phase_duration_seconds_count{phase="read"} 0`,
		`kube_vmap_transactions_total{result="rejected"} 1`,
		`kube_vmap_transactions_total{result="committed"} 0`,
		`kube_vmap_transaction_operations_bucket{le="16"} 0`,
		`kube_vmap_transaction_operations_bucket{le="64"} 1`,
		`kube_vmap_elements{map="services4"} 0`,
		`kube_vmap_elements{map="backends4"} 11`,
		`kube_vmap_elements{map="unforeseen"} 12`,
		`kube_vmap_repairs_total 1`,
		`kube_vmap_foreign_changes_total{process="nft"} 1`,
		`kube_vmap_quarantined_objects 6`,
		`kube_vmap_conflicts 8`,
		`kube_vmap_conntrack_deleted_total 9`,
		`kube_vmap_affinity_bindings{ip_family="IPv4"} 10`,
		`kube_vmap_affinity_bindings_limit{ip_family="IPv4"} 100`,
		`kube_vmap_affinity_full_total{ip_family="IPv4"} 0`,
		`kube_vmap_affinity_full_total{ip_family="IPv6"} 1`,
		`kube_vmap_ready 1`,
		`kube_vmap_build_info{go_version="`+runtime.Version()+`",revision="abc",version="v1"} 1`,
	)
	m.Ready(false)
	lines := scrape(t, m)
	expect(t, lines, `kube_vmap_ready 0`)
	for _, prefix := range []string{"go_goroutines ", "process_open_fds "} {
		if len(withPrefix(lines, prefix)) == 0 {
			t.Errorf("no sample of %s", prefix)
		}
	}
}

func TestMetricsAreNotGlobal(t *testing.T) {
	a, b := metrics.New(metrics.Options{}), metrics.New(metrics.Options{})
	a.Repair()
	expect(t, scrape(t, a), "kube_vmap_repairs_total 1")
	expect(t, scrape(t, b), "kube_vmap_repairs_total 0")
}

func TestObservationsAllocateNothing(t *testing.T) {
	m := metrics.New(metrics.Options{Sets: []string{"backends4"}})
	now := time.Now()
	allocs := testing.AllocsPerRun(100, func() {
		m.Sync(time.Millisecond)
		m.Synced(now)
		m.Queued(now)
		m.Programmed(metrics.IPv4, time.Second)
		m.EndpointChanges(1)
		m.EndpointChangesPending(1)
		m.ServiceChanges(1)
		m.ServiceChangesPending(1)
		m.NoLocalEndpoints(metrics.Internal, metrics.IPv6, 1)
		m.Healthz(200)
		m.Livez(200)
		m.Phase(metrics.Compute, time.Microsecond)
		m.Transaction(metrics.Committed, 2)
		m.Elements("backends4", 5)
		m.ConntrackDeleted(1)
		m.AffinityBindings(metrics.IPv4, 1, 2)
		m.Ready(true)
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

// Names of processes come from outside: they must not make series without end.
func TestForeignProcessesAreBounded(t *testing.T) {
	m := metrics.New(metrics.Options{})
	for i := range 30 {
		m.ForeignChange("process-" + string(rune('A'+i)))
		m.ForeignChange("process-" + string(rune('A'+i)))
	}
	m.ForeignChange("process-A")
	m.ForeignChange("bad\xff")
	lines := scrape(t, m)
	if n := len(withPrefix(lines, "kube_vmap_foreign_changes_total{")); n != 21 {
		t.Errorf("%d series, want 20 and other", n)
	}
	expect(t, lines,
		`kube_vmap_foreign_changes_total{process="process-A"} 3`,
		`kube_vmap_foreign_changes_total{process="other"} 21`)
}

func TestNamesThatAreNotUTF8AreCounted(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.ForeignChange("bad\xff")
	expect(t, scrape(t, m), `kube_vmap_foreign_changes_total{process="bad?"} 1`)
}

// A collector that fails must not cost the others.
func TestFailedCollectorLeavesTheRest(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.Register(metrics.NewConnections(metrics.ConnectionsOptions{
		Read: func(func(metrics.Reading)) error { return errors.New("no kernel") },
	}))
	var heard error
	server := httptest.NewServer(m.Handler(func(err error) { heard = err }))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "kube_vmap_ready 0") {
		t.Errorf("%s:\n%s", resp.Status, body)
	}
	if heard == nil || !strings.Contains(heard.Error(), "no kernel") {
		t.Errorf("logged %v, want the collector's error", heard)
	}
}
