package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
)

// artifacts is the directory for what explains failures, made when it is needed.
var artifacts = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(envArtifacts); dir != "" {
		return dir, os.MkdirAll(dir, 0o755)
	}
	return os.MkdirTemp("", "e2e-artifacts-")
})

// A spec that fails keeps the state that it failed in, before its namespace goes.
var _ = JustAfterEach(func(ctx SpecContext) {
	if lab == nil || !CurrentSpecReport().Failed() {
		return
	}
	dir, err := keepState(ctx, CurrentSpecReport().FullText())
	if err != nil {
		AddReportEntry("artifacts", err.Error())
		return
	}
	AddReportEntry("artifacts", dir)
})

var unusual = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// keepState writes the objects, and each node's ruleset, conntrack and agent log.
func keepState(ctx context.Context, spec string) (string, error) {
	root, err := artifacts()
	if err != nil {
		return "", fmt.Errorf("keep artifacts: %w", err)
	}
	dir := filepath.Join(root, strings.Trim(unusual.ReplaceAllString(spec, "-"), "-"))
	if err := lab.Keep(ctx, dir); err != nil {
		return dir, fmt.Errorf("keep artifacts in %s: %w", dir, err)
	}
	return dir, nil
}

// keepLogs copies the logs of all processes when a spec has failed.
func keepLogs() error {
	if !failed {
		return nil
	}
	dir, err := artifacts()
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	return lab.CopyLogs(filepath.Join(dir, "logs"))
}

// failed says that a spec has failed.
var failed bool

var _ = ReportAfterEach(func(report SpecReport) { failed = failed || report.Failed() })
