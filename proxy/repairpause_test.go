package proxy

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// TestRepairPause: only what was read for a foreign change makes the next one
// wait, neither the agent's start nor its own transactions.
func TestRepairPause(t *testing.T) {
	p := New(DefaultConfig(), nil, logr.Discard())
	p.lastRead, p.last = time.Hour, time.Now()
	if wait := p.repairPause(); wait > 0 {
		t.Errorf("the first change waits %s after a transaction", wait)
	}
	p.lastLook = time.Now().Add(time.Hour)
	if wait := p.repairPause(); wait <= 0 {
		t.Error("the next change does not wait")
	}
}
