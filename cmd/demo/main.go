// Command demo shows a person what kube-vmap does: it makes a node, three
// backends, a pod and a client out of network namespaces, runs the real agent on
// the manifests in examples/demo, and sends real requests while endpoints come
// and go. It needs root, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// options are the command line.
type options struct {
	binary    string
	manifests string
	restart   bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/kube-vmap", "the agent to run")
	flag.StringVar(&o.manifests, "manifests", "examples/demo", "manifests to begin with; they are copied, not changed")
	flag.BoolVar(&o.restart, "restart", false, "show a killed agent's restart and a flushed ruleset under load instead")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o, newPrinter(os.Stdout))
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted, everything is cleaned up")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// step is one thing that is shown.
type step struct {
	title string
	show  func(context.Context, *stage) error
}

var tour = []step{
	{"The agent starts", startAgent},
	{"What the kernel serves", listServices},
	{"1,000 requests by each way in", spreadRequests},
	{"A backend leaves and comes back, under load", changeEndpoint},
	{"The part of the ruleset that does it", explainRuleset},
}

var restartTour = []step{
	{"The agent starts", startAgent},
	{"Somebody flushes the ruleset, under load", flushRuleset},
	{"The agent is killed and started again, under load", killAgent},
	{"The ruleset is flushed again, under load", flushRuleset},
	{"The same where the kernel can't keep others off the table", giveTableUp},
}

func run(ctx context.Context, o options, p *printer) (err error) {
	if err := preflight(o); err != nil {
		return err
	}
	p.heading("The stage")
	s, err := newStage(o, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	steps := tour
	if o.restart {
		steps = restartTour
	}
	for _, step := range steps {
		p.heading(step.title)
		if err := step.show(ctx, s); err != nil {
			return err
		}
	}
	return s.verdict()
}

// preflight says in one line what is missing.
func preflight(o options) error {
	if os.Geteuid() != 0 {
		return errors.New("root is missing: network namespaces need it; run sudo make demo")
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("the agent %s is missing: run make first", o.binary)
	}
	if entries, err := os.ReadDir(o.manifests); err != nil || len(entries) == 0 {
		return fmt.Errorf("manifests in %s are missing: run the demo in the root of the repository", o.manifests)
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return errors.New("the nft binary is missing: the demo shows the ruleset with it; install the package nftables")
	}
	return nil
}
