package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Work with configurations",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(convertCommand())
	return cmd
}

func convertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "convert FILE",
		Short: "Make a ProxyConfig of kube-proxy's configuration",
		Long: `Convert reads kube-proxy's configuration (KubeProxyConfiguration, or the ConfigMap
that kubeadm keeps it in) and prints the ProxyConfig "default" that says the same.
Each field that a ProxyConfig does not have is named on the standard error, with
what to do about it. FILE may be -, the standard input.

The exit code is 0 if it could be converted, whatever is left out, and 1 if it
can't be read.`,
		Example: `  kubectl -n kube-system get configmap kube-proxy -o yaml | kube-vmap config convert - > default.yaml
  kubectl apply -f default.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readInput(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			converted, notes, err := config.FromKubeProxy(data)
			if err != nil {
				return fmt.Errorf("convert %s: %w", args[0], err)
			}
			for _, n := range notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
			}
			return config.Write(cmd.OutOrStdout(), converted)
		},
	}
}

// readInput reads a file, or the standard input.
func readInput(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}
