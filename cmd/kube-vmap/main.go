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

// gcPercent trades processor time, of which the agent needs little, for memory,
// of which each node has to give as much as the largest cluster needs.
const gcPercent = 50

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kube-vmap:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kube-vmap",
		Short: "A Kubernetes Service proxy on one nftables table",
		Long: `kube-vmap programs Kubernetes Services into one nftables table and changes only
the map elements that changed. See what it programmed with "kube-vmap services"
or "nft list table inet kube-vmap".`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), renderCommand(), servicesCommand(), cleanupCommand(), versionCommand())
	return root
}
