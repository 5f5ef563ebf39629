package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// tightMemory is a limit near what the agent needs, in MiB: the garbage collector
// works all the time.
const tightMemory = 16

// number reads an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: must be a number", name, text)
	}
	return n
}

// TestChaos runs the rounds.
func TestChaos(t *testing.T) {
	seed := number(t, "CHAOS_SEED", rand.Uint64N(1e6))
	steps := int(number(t, "CHAOS_STEPS", 0))
	total := time.Duration(number(t, "CHAOS_SECONDS", 30)) * time.Second
	t.Logf("seed %d: repeat with CHAOS_SEED=%d", seed, seed)
	if !canSetClock() {
		t.Log("no start has another clock: this kernel does not enter a time namespace at an exec")
	}
	binary := program(t)
	var reports []*report
	for _, r := range []struct {
		name  string
		title string
		share int // of the time, in percent
		api   bool
		setUp func(*testing.T, *round)
	}{
		{"open", "the program, with a table that anyone may change", 40, false, func(_ *testing.T, r *round) {
			r.agent, r.faults = newProcess(r.node, binary, "--manifests="+r.cluster.dir, "off"), onProcesses
		}},
		{"owned", "the program, which owns its table and follows an API server", 35, true, func(t *testing.T, r *round) {
			kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
			if err := r.cluster.api.kubeconfig(kubeconfig); err != nil {
				t.Fatal(err)
			}
			r.agent = newProcess(r.node, binary, "--kubeconfig="+kubeconfig, "auto")
			r.owned, r.faults = canOwn(t, r.node), slices.Concat(onProcesses, onClusters)
		}},
		{"loop", "the loop, with errors between it and the kernel", 25, false, func(_ *testing.T, r *round) {
			l := newLoop(r.node, r.cluster.dir, seed)
			r.agent, r.faults = l, onLoops(l)
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			round := newRound(t, r.name, seed, r.api)
			r.setUp(t, round)
			round.faults = slices.Concat(common, round.faults)
			report := round.play(t, total*time.Duration(r.share)/100, steps)
			report.title = r.title
			reports = append(reports, report)
		})
	}
	if path := os.Getenv("CHAOS_REPORT"); path != "" && !t.Failed() {
		if err := writeReport(path, reports); err != nil {
			t.Error(err)
		}
	}
}

// canOwn reports whether the kernel has owned tables that persist: from 6.9.
func canOwn(t *testing.T, node *testnet.Host) bool {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	can, err := conn.CanPersist()
	if err != nil {
		t.Fatal(err)
	}
	return can
}

// program is the agent's binary.
func program(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHAOS_AGENT"); path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(t.TempDir(), "kube-vmap")
	cmd := exec.Command("go", "build", "-o", path, "github.com/kube-vmap/kube-vmap/cmd/kube-vmap")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return path
}

// round is a laboratory with everything in it.
type round struct {
	adversary
	lab     *testnet.Lab
	servers []*testnet.Server
	before  usage  // of the servers, the agent and the traffic
	given   uint64 // the seed of all rounds
	owned   bool
}

// build makes two nodes whose pods serve, a pod that does not, and a client.
func (r *round) build(t *testing.T) {
	t.Helper()
	lab := testnet.ForTest(t, testnet.TwoNodes())
	if _, err := lab.AddPod("node-a", testnet.Pod{Name: "a3", Addrs: testnet.Addrs("10.244.0.13", "fd00:10:244::13")}); err != nil {
		t.Fatal(err)
	}
	r.lab, r.node, r.before = lab, lab.Host("node-a"), resources(t)
	for _, pod := range []string{"a1", "a2", "b1", "b2"} {
		for _, protocol := range []testnet.Protocol{testnet.TCP, testnet.UDP} {
			server, err := lab.Host(pod).Serve(protocol, targetPort)
			if err != nil {
				t.Fatal(err)
			}
			r.servers = append(r.servers, server)
		}
	}
	for _, p := range testnet.Prefixes("203.0.113.0/24", "2001:db8:113::/64") {
		if err := lab.Route(p, r.node); err != nil {
			t.Fatal(err)
		}
	}
}

func newRound(t *testing.T, name string, seed uint64, withAPI bool) *round {
	t.Helper()
	r, given := &round{}, seed
	r.build(t)
	for _, c := range name { // each round has a sequence of its own
		seed = seed*31 + uint64(c)
	}
	r.given = given
	r.seed, r.done, r.ledger = seed, map[string]int{}, newLedger()
	r.rng = rand.New(rand.NewPCG(seed, 1<<61))
	var api *apiServer
	var err error
	if withAPI {
		if api, err = newAPIServer(r.node); err != nil {
			t.Fatal(err)
		}
	}
	if r.cluster, err = newCluster(t.TempDir(), r.rng, api); err != nil {
		t.Fatal(err)
	}
	return r
}

// play runs the agent, the traffic and the adversary, and judges.
func (r *round) play(t *testing.T, d time.Duration, steps int) *report {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.begin(t, ctx)
	start := time.Now()
	traffic := startTraffic(ctx, r.lab, r.ledger)
	var err error
	for err == nil && (steps > 0 && r.steps < steps || steps == 0 && time.Since(start) < d) {
		err = r.step(ctx)
	}
	if err == nil {
		err = r.finish(ctx)
	}
	elapsed := time.Since(start)
	traffic.stop()
	repairs, problems := r.agent.health()
	if err != nil {
		problems = append(problems, err.Error())
	}
	problems = append(problems, r.end(t, cancel)...)
	report := r.report(elapsed, repairs)
	r.judge(t, report, problems)
	return report
}

// begin starts the agent and waits until all is as it should be.
func (r *round) begin(t *testing.T, ctx context.Context) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	err := r.agent.start(0, 0)
	if err == nil {
		err = r.agent.ready(soon)
	}
	if err == nil {
		r.observer, err = observe(ctx, r.node, r.cluster.dir, config(r.owned))
	}
	if err == nil {
		err = r.settle(soon)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// end stops everything, and tells what did not stop or is left.
func (r *round) end(t *testing.T, cancel context.CancelFunc) (problems []string) {
	err := r.agent.stop(false)
	cancel()
	r.observer.close()
	if r.cluster.api != nil {
		err = errors.Join(err, r.cluster.api.stop())
	}
	for _, s := range r.servers {
		s.Close() // resets connections whose client was cut off
	}
	if err != nil {
		problems = append(problems, err.Error())
	}
	return append(problems, r.before.leaks(t)...)
}

// judge prints the report, and what is wrong.
func (r *round) judge(t *testing.T, report *report, problems []string) {
	t.Helper()
	t.Logf("\n%s", report)
	for _, f := range report.outside[:min(len(report.outside), 20)] {
		problems = append(problems, "failed without a reason: "+f.String())
	}
	for _, p := range problems {
		t.Error(p)
	}
	if t.Failed() {
		t.Logf("what happened is in %s", r.timeline(report))
		t.Logf("repeat with CHAOS_SEED=%d CHAOS_STEPS=%d go test ./proxy/chaos -run %s", r.given, r.steps, t.Name())
	}
}

// usage is what this process uses.
type usage struct{ goroutines, files int }

func resources(t *testing.T) usage {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return usage{runtime.NumGoroutine(), len(entries)}
}

// leaks waits until no more is used than before.
func (u usage) leaks(t *testing.T) []string {
	t.Helper()
	var now usage
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now = resources(t); now.goroutines <= u.goroutines && now.files <= u.files {
			return nil
		}
	}
	stacks := make([]byte, 1<<16)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return []string{fmt.Sprintf("leaked: %+v at first, %+v at the end\n%s", u, now, stacks)}
}
