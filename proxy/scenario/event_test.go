package scenario

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// events records the warnings about API objects.
type events struct {
	mu    sync.Mutex
	lines []string
}

// Event implements proxy.Recorder.
func (e *events) Event(object model.ObjectRef, kind proxy.EventKind, reason, message string) {
	if kind != proxy.Warning {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, fmt.Sprintf("%s: %s: %s\n", object, reason, message))
}

// take returns the warnings since the last time, sorted.
func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := e.lines
	e.lines = nil
	slices.Sort(lines)
	return strings.Join(lines, "")
}
