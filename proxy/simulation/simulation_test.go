package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy"
)

// historyLength is how many events a history has before another begins from an
// empty kernel: short ones are found to the end when they diverge.
const historyLength = 150

// TestSimulation plays histories, and compares after each event.
func TestSimulation(t *testing.T) {
	seed, steps := fromEnv(t, "SIMULATION_SEED", rand.Uint64N(1e9)), fromEnv(t, "SIMULATION_STEPS", 1000)
	fmt.Printf("Simulation: seed %d\n", seed) // at once: a crash must not hide it
	real := dial(t)
	var total figures
	begin := time.Now()
	for i := uint64(0); total.events < int(steps); i++ {
		history := newGenerator(seed + i).history(historyLength)
		d, f := play(t, history, real)
		total.add(f)
		if d != nil {
			fail(t, seed+i, history, d, real)
		}
		removeTable(t, real)
	}
	t.Logf("Simulation: seed %d, %d steps in %s (%d restarts, %d faults), %d transactions with %d element operations, "+
		"at most %d elements, %d read backs from the kernel, %d questions to the oracle, 0 divergences", seed, total.events,
		time.Since(begin).Round(time.Millisecond), total.restarts, total.faults, total.commits, total.operations, total.elements, total.readBacks, total.asked)
}

func fail(t *testing.T, seed uint64, history []event, d *divergence, real *kernel.Conn) {
	t.Helper()
	const tries = 2000
	t.Logf("seed %d diverges at step %d: %s ...", seed, d.step, d.lines[0])
	if again, _ := play(t, history, nil); again != nil {
		real = nil // the kernel in memory is enough to see it
	}
	history, d = shorten(t, history, d, tries, real)
	t.Fatalf("SIMULATION_SEED=%d diverges; the shortest history found that does:\n%s", seed, report(history, d))
}

// fromEnv is a number from the environment, or the default.
func fromEnv(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return n
}

func dial(t *testing.T) *kernel.Conn {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: kerneltest.Namespace(t).FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func removeTable(t *testing.T, conn *kernel.Conn) {
	t.Helper()
	tx := nft.NewTransaction(&nft.Table{Name: proxy.DefaultConfig().Table})
	tx.CreateTable() // if there is none
	tx.DeleteTable()
	if _, err := conn.Commit(tx); err != nil {
		t.Fatal(err)
	}
}
