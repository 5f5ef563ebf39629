package charts

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
)

// metricName is the label that holds a metric's name.
const metricName = "__name__"

// knownMetrics are those of the reference, which a test of the agent holds to what
// it serves, and those that any program with Prometheus' library has.
func knownMetrics(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{"up": true, "process_resident_memory_bytes": true, "process_cpu_seconds_total": true}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|")
	for _, m := range row.FindAllStringSubmatch(read(t, "../docs/metrics.md"), -1) {
		known[m[1]] = true
		if m[2] == "histogram" {
			known[m[1]+"_bucket"] = true
		}
	}
	return known
}

// checkExpression parses an expression, and looks its metrics and their job up.
func checkExpression(t *testing.T, where, expression string, known map[string]bool) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, expression)
		return
	}
	for _, selector := range parser.ExtractSelectors(expr) {
		job := ""
		for _, m := range selector {
			if m.Name == metricName && !known[m.Value] {
				t.Errorf("%s: there is no metric %s", where, m.Value)
			}
			if m.Name == "job" {
				job = m.Value
			}
		}
		if job != "kube-vmap" {
			t.Errorf("%s: a selector takes the metrics of other jobs\n%s", where, expression)
		}
	}
}

func rules(t *testing.T, values string) []monitoringv1.Rule {
	t.Helper()
	rule := decode[monitoringv1.PrometheusRule](t, mustRender(t, values), "PrometheusRule")
	return slices.Concat(rule.Spec.Groups[0].Rules)
}

func TestAlertsAskForMetricsThereAreAndSayWhatToDo(t *testing.T) {
	known := knownMetrics(t)
	all := rules(t, "prometheusRule: {enabled: true}")
	if len(all) < 5 {
		t.Errorf("%d alerts", len(all))
	}
	for _, r := range all {
		checkExpression(t, r.Alert, r.Expr.String(), known)
		for _, name := range []string{"summary", "description", "runbook"} {
			if len(r.Annotations[name]) < 20 {
				t.Errorf("%s: the %s says nothing: %q", r.Alert, name, r.Annotations[name])
			}
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
	}
}

func TestAlertsCanBeLeftOutAndLabelled(t *testing.T) {
	got := rules(t, "prometheusRule: {enabled: true, disabled: [KubeVmapDown], alertLabels: {team: net, severity: mine}}")
	if n := len(rules(t, "prometheusRule: {enabled: true}")); len(got) != n-1 {
		t.Errorf("%d alerts of %d", len(got), n)
	}
	for _, r := range got {
		if r.Alert == "KubeVmapDown" || r.Labels["team"] != "net" || r.Labels["severity"] == "mine" {
			t.Errorf("%s: %v", r.Alert, r.Labels)
		}
	}
}

// dashboard is what the test looks at of Grafana's format.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr string }
	}
}

func TestDashboard(t *testing.T) {
	config := decode[corev1.ConfigMap](t, mustRender(t, "grafanaDashboard: {enabled: true}"), "ConfigMap")
	if config.Labels["grafana_dashboard"] != "1" {
		t.Errorf("labels %v", config.Labels)
	}
	var d dashboard
	if err := json.Unmarshal([]byte(config.Data["kube-vmap.json"]), &d); err != nil {
		t.Fatal(err)
	}
	known, ids, cells := knownMetrics(t), map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: number %d stands twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkExpression(t, p.Title, strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(target.Expr), known)
		}
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("%s: shows nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: lies over %q, or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
	if d.UID == "" || len(d.Panels) < 10 {
		t.Errorf("uid %q, %d panels", d.UID, len(d.Panels))
	}
}
