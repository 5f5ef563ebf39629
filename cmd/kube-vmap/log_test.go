package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestLogEscapes: what objects and processes call themselves is one value in one
// line, in both formats.
func TestLogEscapes(t *testing.T) {
	const evil = "x\" level=ERROR msg=\"forged\"\ntime=now level=ERROR msg=forged \x1b[2J"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		flags := logFlags{format: format, verbosity: 4}
		log, err := flags.logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("quarantined", "object", evil)
		log.Error(errors.New(evil), "sync failed")
		log.V(4).Info(evil)
		for line := range strings.Lines(out.String()) {
			if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\x1b") || strings.HasPrefix(line, "time=now") {
				t.Errorf("%s: a name escapes: %q", format, line)
			}
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %q", line)
			}
		}
		if n := strings.Count(out.String(), "\n"); n != 3 {
			t.Errorf("%s: %d lines; want 3:\n%s", format, n, out.String())
		}
	}
}
