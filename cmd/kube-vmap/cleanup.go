package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

func cleanupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove the table",
		Long: `Cleanup removes kube-vmap's table from the kernel, and with it every Service on
this node. Established connections end, since their translation goes too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := kernel.Dial(kernel.Options{})
			if err != nil {
				return err
			}
			defer conn.Close()
			return removeTable(cmd, conn)
		},
	}
}

func removeTable(cmd *cobra.Command, conn *kernel.Conn) error {
	snapshot, err := conn.ReadStructure(ruleset.DefaultTable, func(string) bool { return false })
	if err != nil {
		return err
	}
	if snapshot.Table == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "table inet %s is not there\n", ruleset.DefaultTable)
		return nil
	}
	tx := nft.NewTransaction(snapshot.Table)
	tx.DeleteTable()
	if _, err := conn.Commit(tx); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "table inet %s removed\n", ruleset.DefaultTable)
	return nil
}
