package main

import (
	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
)

func renderCommand() *cobra.Command {
	var (
		flags proxyFlags
		dir   string
	)
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Print the table that manifests ask for, as nft loads it",
		Long: `Render computes the whole table and prints it in the form that "nft -f" loads.
It needs no privileges and changes nothing.`,
		Example: `  kube-vmap render --manifests examples/demo --node-name demo-node
  kube-vmap render --manifests examples/demo | nft -c -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := flags.config()
			if err != nil {
				return err
			}
			update, err := manifests.Load(dir, manifests.Options{NodeName: config.NodeName, Log: logr.Discard()})
			if err != nil {
				return err
			}
			return proxy.Render(config, update).WriteText(cmd.OutOrStdout())
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&dir, "manifests", "", "directory of manifests")
	cobra.CheckErr(cmd.MarkFlagRequired("manifests"))
	return cmd
}
