package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/kube-vmap/kube-vmap/proxy/metrics"
)

var update = flag.Bool("update", false, "write docs/metrics.md instead of checking it")

const reference = "../../docs/metrics.md"

// The reference is written from what is really exported, so it can't drift.
func TestReferenceIsUpToDate(t *testing.T) {
	want := renderReference(t)
	if *update {
		if err := os.WriteFile(reference, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/metrics.md is out of date: run go test ./proxy/metrics -update")
	}
}

func renderReference(t *testing.T) []byte {
	m := metrics.New(metrics.Options{Sets: []string{"services4"}})
	feed(m)
	k := &kernel{readings: []metrics.Reading{reading("cart", "10.96.0.1", 1)}}
	slot := k.readings[0]
	slot.Backend = netip.MustParseAddrPort("10.1.0.1:80")
	k.readings = append(k.readings, slot)
	m.Register(metrics.NewConnections(metrics.ConnectionsOptions{Read: k.read, ServicePorts: 1, Endpoints: 1}))
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(head)
	writeTable(&b, families, "kubeproxy_")
	b.WriteString(middle)
	writeTable(&b, families, "kube_vmap_")
	b.WriteString(tail)
	return b.Bytes()
}

const head = `<!-- Written by go test ./proxy/metrics -update. Do not edit. -->
# Metrics

kube-vmap serves its metrics for Prometheus at ` + "`/metrics`" + ` of the metrics address (127.0.0.1:10249 unless
configured otherwise).

## Names of kube-proxy

These mean the same as in kube-proxy 1.37 and have its names and buckets, so dashboards and alerts go on
working. One difference: kube-proxy programs each address family by itself and labels all of these but the
changes and probes with ` + "`ip_family`" + `. kube-vmap programs both in one transaction; it has the label only
where the counted thing belongs to a family. An expression that selects ` + "`ip_family=\"IPv4\"`" + ` elsewhere
must drop that.

`

const middle = `
## Names of kube-vmap

`

const tail = `
Besides these there are the usual ` + "`go_*`" + `, ` + "`process_*`" + ` and ` + "`promhttp_metric_handler_errors_total`" + ` of
Prometheus' client library for Go.
`

func writeTable(b *bytes.Buffer, families []*dto.MetricFamily, prefix string) {
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), prefix) {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.GetName(),
				strings.ToLower(f.GetType().String()), labels(f), f.GetHelp())
		}
	}
}

// labels are those of all of the family's metrics.
func labels(f *dto.MetricFamily) string {
	var names []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if name := "`" + l.GetName() + "`"; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}
