// Command kube-vmap is a Kubernetes Service proxy on one nftables table.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// How much garbage there may be, in percent of what is in use. It trades processor time,
// of which the agent needs little, for memory, of which each node has to give as much as
// the largest cluster needs. The first load is the exception: at 45,000 Services it takes
// 4.3 s of processor time with 50 and 5.1 s with 30, and peaks at 1.5 and 1.3 times what
// stays. After it, collections are seconds apart.
const (
	garbage       = 30
	garbageOfLoad = 50
)

// allowGarbage sets it, unless the environment does.
func allowGarbage(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func main() {
	allowGarbage(garbage)
	err := execute()
	code, silent := exitCode(err)
	if !silent {
		fmt.Fprintln(os.Stderr, "kube-vmap:", err)
	}
	os.Exit(code)
}

// execute runs the command until it ends or a signal ends it.
func execute() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return newCommand().ExecuteContext(ctx)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kube-vmap",
		Short: "A Kubernetes Service proxy on one nftables table",
		Long: `kube-vmap programs Kubernetes Services into one nftables table and changes only
the map elements that changed. See how it does with "kube-vmap status", what it
programmed with "kube-vmap services", and what becomes of a connection with
"kube-vmap explain".`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), renderCommand(), servicesCommand(), cleanupCommand(), sysctlsCommand(), configCommand(), versionCommand())
	root.AddCommand(question(statusCommand()), question(explainCommand()), question(traceCommand()), question(diffCommand()))
	root.AddCommand(supportBundleCommand(), exitCodesHelp())
	return root
}
