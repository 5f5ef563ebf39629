package main

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// recentLines keeps the last lines that were written to it, for support bundles.
type recentLines struct {
	mu    sync.Mutex
	most  int
	lines [][]byte
}

// keptLines is how many lines of the log are kept: some 100 KiB.
const keptLines = 500

// Write implements io.Writer. A logger writes a line at a time.
func (r *recentLines) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, bytes.Clone(line))
	if len(r.lines) >= 2*r.most { // half of the time there is room
		r.lines = append([][]byte(nil), r.lines[len(r.lines)-r.most:]...)
	}
	return len(line), nil
}

// ServeHTTP implements http.Handler.
func (r *recentLines) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	text := bytes.Join(r.lines[max(0, len(r.lines)-r.most):], nil)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // the client may be gone
}

// recentEvents keeps the last events, and hands them on.
type recentEvents struct {
	next  proxy.Recorder // nil: nowhere
	lines recentLines
}

// Event implements proxy.Recorder.
func (r *recentEvents) Event(object model.ObjectRef, kind proxy.EventKind, reason, message string) {
	fmt.Fprintf(&r.lines, "%s %s %s %s: %s\n", time.Now().UTC().Format(time.RFC3339), kind, reason, object, message)
	if r.next != nil {
		r.next.Event(object, kind, reason, message)
	}
}
