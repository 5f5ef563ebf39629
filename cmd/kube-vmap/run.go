package main

import "github.com/spf13/cobra"

func runCommand() *cobra.Command {
	var (
		flags   proxyFlags
		log     logFlags
		sysctls sysctlFlags
		serve   serveFlags
		objects objectFlags
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep the table equal to what Services ask for",
		Long: `Run watches Services and EndpointSlices and keeps the nftables table equal to
what they ask for. It needs CAP_NET_ADMIN. On SIGTERM it ends and leaves the
table in place; "kube-vmap cleanup" removes it.`,
		Example: `  kube-vmap run --kubeconfig /etc/kubernetes/kube-vmap.conf --node-name "$(hostname)"
  kube-vmap run --manifests examples/demo --node-name demo-node`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := flags.config()
			if err != nil {
				return err
			}
			logger, err := log.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			a := &agent{config: config, flags: &flags, sysctls: sysctls.Sysctls, serve: serve, log: logger}
			if err := objects.connect(a); err != nil {
				return err
			}
			logger.Info("start", "version", version, "node", config.NodeName)
			return a.run(cmd.Context())
		},
	}
	flags.register(cmd.Flags())
	log.register(cmd.Flags())
	sysctls.register(cmd.Flags())
	serve.register(cmd.Flags())
	objects.register(cmd.Flags())
	return cmd
}
