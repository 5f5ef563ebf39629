package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/takeover"
)

func cleanupCommand() *cobra.Command {
	var kubeProxy, dryRun bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove the table, or what kube-proxy left",
		Long: `Cleanup removes kube-vmap's table from the kernel, and with it every Service on
this node. Established connections end, since their translation goes too.

With --kube-proxy it removes what kube-proxy left instead, in whichever mode it
ran: its nftables tables, its chains in the tables of iptables-nft and
iptables-legacy with the rules that jump to them, its IPVS services, device and
IP sets. Everything else stays. No program is executed.

To take a node over without losing a connection: start kube-vmap, wait until it
is ready (new connections are its from then on), stop kube-proxy, then run
"kube-vmap cleanup --kube-proxy". While kube-proxy runs it writes its rules again.
Only connections that IPVS balanced end, since nothing but IPVS knows them.

One line is printed for each thing. The exit code is 0 if nothing is left that
could be removed, also if nothing was there, and 1 if something failed.`,
		Example: `  kube-vmap cleanup --kube-proxy --dry-run`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kubeProxy {
				return removeLeftovers(cmd.OutOrStdout(), dryRun)
			}
			conn, err := kernel.Dial(kernel.Options{})
			if err != nil {
				return err
			}
			return errors.Join(removeTable(cmd.OutOrStdout(), conn, dryRun), conn.Close())
		},
	}
	cmd.Flags().BoolVar(&kubeProxy, "kube-proxy", false, "remove what kube-proxy left, and leave kube-vmap's table")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and change nothing")
	return cmd
}

func removeLeftovers(out io.Writer, dryRun bool) error {
	found := false
	err := takeover.Clean(takeover.Options{DryRun: dryRun, Tell: func(f takeover.Finding) {
		found = true
		fmt.Fprintln(out, f)
	}})
	if err == nil && !found {
		fmt.Fprintln(out, "nothing of kube-proxy is there")
	}
	return err
}

func removeTable(out io.Writer, conn *kernel.Conn, dryRun bool) error {
	snapshot, err := conn.ReadStructure(ruleset.DefaultTable, func(string) bool { return false })
	if err != nil {
		return err
	}
	if snapshot.Table == nil {
		fmt.Fprintf(out, "table inet %s is not there\n", ruleset.DefaultTable)
		return nil
	}
	if dryRun {
		fmt.Fprintf(out, "would remove table inet %s\n", ruleset.DefaultTable)
		return nil
	}
	tx := nft.NewTransaction(snapshot.Table)
	tx.DeleteTable()
	if _, err := conn.Commit(tx); err != nil {
		return err
	}
	fmt.Fprintf(out, "table inet %s removed\n", ruleset.DefaultTable)
	return nil
}
