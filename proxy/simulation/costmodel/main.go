// Command costmodel finds what a cluster costs the agent, beyond what one machine
// can run: it feeds the agent's own loop with the objects of up to 100,000
// Services and 1,000,000 endpoints, converted from API objects as the agent does,
// then with the changes of 5,000 nodes, and counts what it would write, on a
// dataplane that counts and nothing else. Counts are the same in every run; memory
// nearly so; times are those of the machine.
//
//	go run ./proxy/simulation/costmodel            # writes the section of docs/performance.md
//	go run ./proxy/simulation/costmodel -out ''
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/simulation/page"
)

// size is a cluster.
type size struct{ services, endpoints int }

// sizes are what is simulated. The last is the target; the differences of the
// others give the price of a Service and of an endpoint.
var sizes = []size{{10_000, 1}, {10_000, 10}, {45_000, 1}, {100_000, 10}}

// The load of 5,000 nodes: 200 pods on each, which live for an hour, so that each
// makes two changes of endpoints an hour.
const (
	nodes          = 5000
	changesPerHour = nodes * 200 * 2
)

func main() {
	out := flag.String("out", "docs/performance.md", "page to write the section to; empty: none")
	changes := flag.Int("changes", 20_000, "changes of one endpoint to simulate at each size")
	flag.Parse()
	debug.SetGCPercent(30) // as the agent does
	if err := run(*out, *changes); err != nil {
		fmt.Fprintln(os.Stderr, "costmodel:", err)
		os.Exit(1)
	}
}

func run(out string, changes int) error {
	var results []result
	for _, s := range sizes {
		r, err := simulate(s, changes)
		if err != nil {
			return fmt.Errorf("simulate %d Services with %d endpoints: %w", s.services, s.endpoints, err)
		}
		fmt.Fprintf(os.Stderr, "%+v\n", r)
		results = append(results, r)
	}
	text := section(results)
	fmt.Print(text)
	if out == "" {
		return nil
	}
	return page.ReplaceSection(out, "cost model", text)
}

// result is what one size costs.
type result struct {
	size
	heap          uint64        // bytes of the loop's state, when nothing is garbage
	load          time.Duration // from the last object until all was written
	loadElements  int
	listBytes     int // of both lists in protobuf
	eventBytes    int // of a change's event in protobuf
	transactions  float64
	elements      float64 // written per change
	allocations   float64
	allocated     float64 // bytes
	perChange     time.Duration
	messageBounds [2]int // least and most elements of a change
}

// simulate loads a cluster and changes it.
func simulate(s size, changes int) (r result, err error) {
	r.size = s
	before := heap()
	dp := &counter{done: make(chan struct{}, 1)}
	agent := start(dp)
	defer func() {
		if stopErr := agent.stop(); err == nil {
			err = stopErr
		}
	}()
	r.listBytes = agent.list(s)
	begin := time.Now()
	agent.synced()
	dp.awaitElements(s.services * (s.endpoints + 2)) // endpoints, the verdict, the cluster IP
	r.load = time.Since(begin)
	r.loadElements = dp.total().elements
	r.heap = heap() - before

	var start, end runtime.MemStats
	first := dp.total()
	runtime.ReadMemStats(&start)
	begin = time.Now()
	r.messageBounds[0] = 1 << 30
	for n := range changes {
		had := dp.total()
		bytes := agent.change(s, n)
		r.eventBytes = bytes
		dp.awaitCommit()
		got := dp.total().elements - had.elements
		r.messageBounds = [2]int{min(r.messageBounds[0], got), max(r.messageBounds[1], got)}
	}
	r.perChange = time.Since(begin) / time.Duration(changes)
	runtime.ReadMemStats(&end)
	last := dp.total()
	r.transactions = float64(last.transactions-first.transactions) / float64(changes)
	r.elements = float64(last.elements-first.elements) / float64(changes)
	r.allocations = float64(end.Mallocs-start.Mallocs) / float64(changes)
	r.allocated = float64(end.TotalAlloc-start.TotalAlloc) / float64(changes)
	runtime.KeepAlive(agent)
	return r, nil
}

// heap is what lives.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// section writes the table and the prices.
func section(results []result) string {
	var sb strings.Builder
	sb.WriteString("| Services × endpoints | heap | load | elements | lists, protobuf | elements per change | transactions per change | time per change | allocations per change |\n")
	sb.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range results {
		fmt.Fprintf(&sb, "| %d × %d | %.1f MB | %.2f s | %d | %.1f MB | %.2f (%d to %d) | %.2f | %.0f µs | %.0f, %.1f kB |\n",
			r.services, r.endpoints, float64(r.heap)/1e6, r.load.Seconds(), r.loadElements, float64(r.listBytes)/1e6,
			r.elements, r.messageBounds[0], r.messageBounds[1], r.transactions,
			float64(r.perChange.Nanoseconds())/1e3, r.allocations, r.allocated/1e3)
	}
	one, ten, last := results[0], results[1], results[len(results)-1]
	endpoint := float64(ten.heap-one.heap) / float64(ten.services*(ten.endpoints-one.endpoints))
	service := float64(one.heap)/float64(one.services) - endpoint
	perSecond := float64(changesPerHour) / 3600
	fmt.Fprintf(&sb, "\nHeap: %.0f bytes per Service and %.0f per endpoint. The process takes more: what the garbage collector has not\n"+
		"taken yet (GOGC=30: a third of the heap at most) and about 25 MB that do not depend on the cluster.\n\n", service, endpoint)
	fmt.Fprintf(&sb, "%d nodes of 200 pods that live for an hour each make %.0f changes of endpoints per second: at %.0f µs each that\n"+
		"is %.1f %% of one processor for the loop on each node, %.0f elements per second to the kernel, and %.2f MB per second of\n"+
		"events from the API server to each node (%d bytes each).\n",
		nodes, perSecond, float64(last.perChange.Nanoseconds())/1e3, perSecond*last.perChange.Seconds()*100,
		perSecond*last.elements, perSecond*float64(last.eventBytes)/1e6, last.eventBytes)
	return sb.String()
}

var background = context.Background()
