package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Result is a whole run.
type Result struct {
	Date     time.Time            `json:"date"`
	Machine  string               `json:"machine"`
	Kernel   string               `json:"kernel"`
	Versions map[AgentKind]string `json:"versions"`
	Nft      string               `json:"nft"`
	Go       string               `json:"go"`
	Scales   []*ScaleResult       `json:"scales"`
}

// ScaleResult is what was measured at one scale.
type ScaleResult struct {
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
		Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(),
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
	sr := &ScaleResult{Services: s.Services, Endpoints: s.Endpoints, Agents: map[AgentKind]*Figures{}}
	r.Scales = append(r.Scales, sr)
	return sr
}

// write writes the files to a directory; none is none.
func (r *Result) write(dir string) error {
	if dir == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "performance.json"), append(b, '\n'), 0o644)
}

func (r *Result) markdown(out io.Writer) error {
	b, _ := json.MarshalIndent(r, "", "  ")
	_, err := out.Write(b)
	return err
}
