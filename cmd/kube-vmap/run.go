package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
)

func runCommand() *cobra.Command {
	var (
		flags   proxyFlags
		log     logFlags
		sysctls sysctlFlags
		serve   serveFlags
		dir     string
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep the table equal to what Services ask for",
		Long: `Run watches Services and EndpointSlices and keeps the nftables table equal to
what they ask for. It needs CAP_NET_ADMIN. On SIGTERM it ends and leaves the
table in place; "kube-vmap cleanup" removes it.`,
		Example: `  kube-vmap run --manifests examples/demo --node-name demo-node`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := flags.config()
			if err != nil {
				return err
			}
			logger, err := log.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if dir == "" {
				return errors.New("--manifests is missing: where are the objects?")
			}
			logger.Info("start", "version", version, "node", config.NodeName, "manifests", dir)
			a := &agent{config: config, flags: &flags, sysctls: sysctls.Sysctls, serve: serve, log: logger}
			a.objects = manifests.New(dir, manifests.Options{NodeName: config.NodeName, Log: logger.WithName("manifests")})
			return a.run(cmd.Context())
		},
	}
	flags.register(cmd.Flags())
	log.register(cmd.Flags())
	sysctls.register(cmd.Flags())
	serve.register(cmd.Flags())
	cmd.Flags().StringVar(&dir, "manifests", "", "directory of manifests to serve instead of a cluster's objects")
	return cmd
}
