package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/simulation/page"
)

// Result is what was measured: of each scale the latest.
type Result struct {
	Machine  string               `json:"machine"`
	Kernel   string               `json:"kernel"`
	Versions map[AgentKind]string `json:"versions"`
	Nft      string               `json:"nft"`
	Go       string               `json:"go"`
	Scales   []*ScaleResult       `json:"scales"`
}

// ScaleResult is what was measured at one scale.
type ScaleResult struct {
	Date      time.Time              `json:"date"`
	Services  int                    `json:"services"`
	Endpoints int                    `json:"endpoints_each"`
	Agents    map[AgentKind]*Figures `json:"agents"`
}

// Figures are those of one agent at one scale.
type Figures struct {
	Cold       *ColdStart   `json:"cold_start,omitempty"`
	Update     *Update      `json:"update,omitempty"`      // one of the endpoints of a Service of the scale
	UpdateLone *Update      `json:"update_lone,omitempty"` // the only endpoint of a Service
	Warm       *WarmRestart `json:"warm_restart,omitempty"`
	Churn      *Churn       `json:"churn,omitempty"`
	Packet     *Packet      `json:"packet,omitempty"`
	Commit     *Commit      `json:"commit,omitempty"`
	LoadBefore float64      `json:"load_average_before"`
	LoadAfter  float64      `json:"load_average_after"`
}

func newResult() *Result {
	r := &Result{
		Go:       runtime.Version(),
		Machine:  fmt.Sprintf("%d processors, %s", runtime.NumCPU(), processorName()),
		Kernel:   strings.TrimSpace(readText("/proc/sys/kernel/osrelease")),
		Nft:      output("nft", "--version"),
		Versions: map[AgentKind]string{},
	}
	for _, k := range kinds {
		r.Versions[k] = k.version()
	}
	return r
}

func (r *Result) scale(s Scale) *ScaleResult {
	sr := &ScaleResult{
		Date: time.Now().UTC().Truncate(time.Second), Services: s.Services, Endpoints: s.Endpoints,
		Agents: map[AgentKind]*Figures{},
	}
	r.Scales = append(r.Scales, sr)
	return sr
}

const (
	jsonFile = "performance.json"
	pageFile = "performance.md"
)

// keepOthers takes over, from the file of earlier runs, the scales that this one
// does not measure.
func (r *Result) keepOthers(dir string, measured []Scale) error {
	b, err := os.ReadFile(filepath.Join(dir, jsonFile))
	if dir == "" || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var earlier Result
	if err == nil {
		err = json.Unmarshal(b, &earlier)
	}
	if err != nil {
		return fmt.Errorf("read earlier results: %w", err)
	}
	for _, s := range earlier.Scales {
		if !slices.Contains(measured, Scale{s.Services, s.Endpoints}) {
			r.Scales = append(r.Scales, s)
		}
	}
	return nil
}

// write writes the files to a directory; none is none.
func (r *Result) write(dir string) error {
	if dir == "" {
		return nil
	}
	slices.SortFunc(r.Scales, func(a, b *ScaleResult) int {
		return a.Services*1000 + a.Endpoints - b.Services*1000 - b.Endpoints
	})
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	err = os.WriteFile(filepath.Join(dir, jsonFile), append(b, '\n'), 0o644)
	for _, p := range plots {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, p.file), []byte(p.draw(r)), 0o644))
	}
	return errors.Join(err, page.ReplaceSection(filepath.Join(dir, pageFile), "make bench", r.page()))
}

// markdown prints the tables.
func (r *Result) markdown(out io.Writer) error {
	_, err := io.WriteString(out, r.page())
	return err
}

// page is the part of the page that is measured.
func (r *Result) page() string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%s; Linux %s; %s, kube-proxy %s in nftables mode with %s; %s.\n\n",
		r.Machine, r.Kernel, r.Versions[KubeVmap], r.Versions[KubeProxy], r.Nft, r.Go)
	sb.WriteString("Ratio: kube-proxy's figure by kube-vmap's.\n\n")
	for _, p := range plots {
		fmt.Fprintf(&sb, "![%s](%s)\n", p.title, p.file)
	}
	sb.WriteString("\n" + r.tables())
	return sb.String()
}
