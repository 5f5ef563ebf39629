// Command bench measures kube-vmap and kube-proxy side by side: in the same run,
// on this machine, with the same real API server and the same objects, each on a
// node of its own (but what a first packet costs, with both tables on one), by the
// packets that come through and what the kernel counts, and not by anything that
// either says of itself. It needs root.
//
//	go run ./bench                                  # from e2e/: 1x10, 1000x10 and 10000x10
//	go run ./bench -scales 45000x1,5000x50          # others
//	go run ./bench -scales 1000x10 -agents kube-vmap -out ''    # a quick look
//
// Results go to stdout, and to performance.md, performance.json and plots in the
// output directory.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	scales  []Scale
	agents  []AgentKind
	only    map[string]bool // parts to run; empty: all
	churn   time.Duration
	samples int
	out     string
	logs    string

	precedence bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o, err := parseOptions()
	if err != nil {
		return err
	}
	if o.precedence {
		takePrecedence()
	}
	b := &bench{options: o, result: newResult()}
	if err := b.result.keepOthers(o.out, o.scales); err != nil {
		return err
	}
	for _, scale := range o.scales {
		if err := b.measure(ctx, scale); err != nil {
			return fmt.Errorf("measure %s: %w (logs: %s)", scale, err, o.logs)
		}
		// What is there already is worth having if the next scale fails.
		if err := b.result.write(o.out); err != nil {
			return err
		}
	}
	return b.result.markdown(os.Stdout)
}

func parseOptions() (o options, err error) {
	scales := flag.String("scales", "1x10,1000x10,10000x10", "sizes of the cluster: Services x endpoints of each")
	agents := flag.String("agents", "kube-vmap,kube-proxy", "programs to measure")
	only := flag.String("only", "", "parts to measure, of update,churn,packet,restart,commit (default: all); the cold start always is")
	flag.DurationVar(&o.churn, "churn", 20*time.Second, "how long to change 100 endpoints per second")
	flag.IntVar(&o.samples, "samples", 200, "changes of one endpoint to measure; kube-proxy gets fewer")
	flag.StringVar(&o.out, "out", "../docs", "directory for performance.md, performance.json and plots; empty: none")
	flag.StringVar(&o.logs, "logs", filepath.Join(os.TempDir(), "kube-vmap-bench"), "directory for logs")
	flag.BoolVar(&o.precedence, "precedence", false, "take a larger share of the processors than all else on this machine, which then crawls")
	flag.Parse()
	if o.scales, err = parseScales(*scales); err != nil {
		return o, err
	}
	for name := range strings.SplitSeq(*agents, ",") {
		switch name {
		case KubeVmap.String():
			o.agents = append(o.agents, KubeVmap)
		case KubeProxy.String():
			o.agents = append(o.agents, KubeProxy)
		default:
			return o, fmt.Errorf("-agents: %q is none of %v", name, kinds)
		}
	}
	if *only != "" {
		o.only = map[string]bool{}
		for part := range strings.SplitSeq(*only, ",") {
			o.only[part] = true
		}
	}
	return o, nil
}

// takePrecedence gives this session's processes a larger share of the processors
// than what else runs on the machine (sched(7), autogroups). Where it can't, the
// figures are worse, and the load average says why.
func takePrecedence() {
	if err := os.WriteFile("/proc/self/autogroup", []byte("-15"), 0); err != nil {
		say("other work on this machine will count: %v", err)
	}
}

// does reports whether a part is to be measured.
func (o *options) does(part string) bool { return o.only == nil || o.only[part] }
