package main

import (
	"fmt"
	"strings"
)

// row is a line of the table: a figure of each agent. Both functions get figures
// that are there.
type row struct {
	name  string
	unit  string
	value func(*Figures) (float64, bool)
}

// rows are the lines of the table, in its order. Less is better in all of them but rates.
var rows = []row{
	{"cold start: ready", "s", cold(func(c *ColdStart) float64 { return c.Ready })},
	{"cold start: ready after the lists are in", "s", cold(func(c *ColdStart) float64 { return c.Ready - c.ListsIn })},
	{"cold start: processor time", "s", cold(func(c *ColdStart) float64 { return c.CPU })},
	{"memory: at rest", "MB", cold(func(c *ColdStart) float64 { return megabytes(c.RestBytes) })},
	{"memory: peak of the start", "MB", cold(func(c *ColdStart) float64 { return megabytes(c.PeakBytes) })},
	{"warm restart: ready", "s", warm(func(w *WarmRestart) float64 { return w.Ready })},
	{"warm restart: ready after the lists are in", "s", warm(func(w *WarmRestart) float64 { return w.Ready - w.ListsIn })},
	{"warm restart: processor time", "s", warm(func(w *WarmRestart) float64 { return w.CPU })},
	{"warm restart: elements, rules and others written", "", warm(func(w *WarmRestart) float64 { return float64(w.Writes.Total()) })},
	{"warm restart: failed connections", "", warm(func(w *WarmRestart) float64 { return float64(w.Failed) })},
	{"only endpoint replaced: first packet to the new one, p50", "ms", lone(func(u *Update) float64 { return u.New.P50 })},
	{"only endpoint replaced: the same, p90", "ms", lone(func(u *Update) float64 { return u.New.P90 })},
	{"only endpoint replaced: the same, p99", "ms", lone(func(u *Update) float64 { return u.New.P99 })},
	{"only endpoint replaced: last packet to the old one, p50", "ms", lone(func(u *Update) float64 { return u.Old.P50 })},
	{"only endpoint replaced: the same, p99", "ms", lone(func(u *Update) float64 { return u.Old.P99 })},
	{"only endpoint replaced: processor time", "ms", lone(func(u *Update) float64 { return u.CPU })},
	{"one endpoint of several replaced: first packet to the new one, p50", "ms", several(func(u *Update) float64 { return u.New.P50 })},
	{"one endpoint of several replaced: the same, p99", "ms", several(func(u *Update) float64 { return u.New.P99 })},
	{"one endpoint of several replaced: last packet to the old one, p50", "ms", several(func(u *Update) float64 { return u.Old.P50 })},
	{"one endpoint of several replaced: processor time", "ms", several(func(u *Update) float64 { return u.CPU })},
	{"failed connections to Services that change", "", failedOnChange},
	{"100 changes/s: update, p50", "ms", churned(func(c *Churn) float64 { return c.Update.P50 })},
	{"100 changes/s: update, p99", "ms", churned(func(c *Churn) float64 { return c.Update.P99 })},
	{"100 changes/s: processor time per change", "ms", churned(func(c *Churn) float64 { return c.CPU })},
	{"100 changes/s: peak memory", "MB", churned(func(c *Churn) float64 { return megabytes(c.PeakBytes) })},
	{"100 changes/s: failed connections", "", churned(func(c *Churn) float64 { return float64(c.Failed) })},
	{"handshake with an endpoint, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.Direct.Handshake.P50 })},
	{"handshake through a Service of 100 endpoints, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.VIP.Handshake.P50 })},
	{"handshake through a Service of 100 endpoints, p99", "µs", packet(func(p *Packet) float64 { return 1000 * p.VIP.Handshake.P99 })},
	{"the same with affinity, bound client, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.Sticky.Handshake.P50 })},
	{"the same with affinity, new client, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.Fresh.Handshake.P50 })},
	{"the same with affinity, new client, p99", "µs", packet(func(p *Packet) float64 { return 1000 * p.Fresh.Handshake.P99 })},
	{"added by the Service, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.VIP.Added })},
	{"added by the Service with affinity, bound client, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.Sticky.Added })},
	{"added by the Service with affinity, new client, p50", "µs", packet(func(p *Packet) float64 { return 1000 * p.Fresh.Added })},
	{"new connections through a Service", "/s", packet(func(p *Packet) float64 { return p.VIP.Rate })},
	{"new connections through a Service with affinity", "/s", packet(func(p *Packet) float64 { return p.Sticky.Rate })},
	{"commit of an element of the agent's own, p50", "µs", commit(func(c *Commit) float64 { return 1000 * c.Own.P50 })},
	{"commit of an element of another table, p50", "µs", commit(func(c *Commit) float64 { return 1000 * c.Other.P50 })},
	{"load average of the machine", "", func(f *Figures) (float64, bool) { return max(f.LoadBefore, f.LoadAfter), true }},
}

func cold(get func(*ColdStart) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Cold, get) }
}

func warm(get func(*WarmRestart) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Warm, get) }
}

func lone(get func(*Update) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.UpdateLone, get) }
}

func several(get func(*Update) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Update, get) }
}

func churned(get func(*Churn) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Churn, get) }
}

func packet(get func(*Packet) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Packet, get) }
}

func commit(get func(*Commit) float64) func(*Figures) (float64, bool) {
	return func(f *Figures) (float64, bool) { return of(f.Commit, get) }
}

// of is a figure of what was measured; it reports false if that was not.
func of[T any](measured *T, get func(*T) float64) (float64, bool) {
	if measured == nil {
		return 0, false
	}
	return get(measured), true
}

func failedOnChange(f *Figures) (float64, bool) {
	if f.Update == nil || f.UpdateLone == nil {
		return 0, false
	}
	return float64(f.Update.Failed + f.UpdateLone.Failed), true
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// tables writes a table for each scale.
func (r *Result) tables() string {
	var sb strings.Builder
	for _, s := range r.Scales {
		fmt.Fprintf(&sb, "### %d Services × %d endpoints\n\n", s.Services, s.Endpoints)
		fmt.Fprintf(&sb, "| measured %s | kube-vmap | kube-proxy | ratio |\n|---|--:|--:|--:|\n", s.Date.Format("2006-01-02 15:04"))
		for _, row := range rows {
			row.write(&sb, s)
		}
		sb.WriteString("\n")
	}
	return sb.String()
}

// write writes the line of a row, if anything was measured for it.
func (row *row) write(sb *strings.Builder, s *ScaleResult) {
	var cells [2]string
	var values [2]float64
	found := 0
	for i, k := range kinds {
		if f := s.Agents[k]; f != nil {
			if v, ok := row.value(f); ok {
				values[i], cells[i] = v, strings.TrimSpace(figure(v)+" "+row.unit)
				found++
			}
		}
	}
	if found == 0 {
		return
	}
	ratio := ""
	if found == 2 && values[0] > 0 && values[1] > 0 && row.unit != "" {
		ratio = figure(values[1] / values[0])
	}
	fmt.Fprintf(sb, "| %s | %s | %s | %s |\n", row.name, cells[0], cells[1], ratio)
}

// figure prints three digits that count.
func figure(v float64) string {
	switch abs := max(v, -v); {
	case abs == 0:
		return "0"
	case abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	case abs >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
