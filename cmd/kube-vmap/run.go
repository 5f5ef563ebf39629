package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/config"
)

func runCommand() *cobra.Command {
	var (
		flags   proxyFlags
		log     logFlags
		sysctls sysctlFlags
		serve   serveFlags
		objects objectFlags
		file    string
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep the table equal to what Services ask for",
		Long: `Run watches Services and EndpointSlices and keeps the nftables table equal to
what they ask for. It needs CAP_NET_ADMIN. On SIGTERM it ends and leaves the
table in place; "kube-vmap cleanup" removes it.

What tunes a running agent can change while it runs. Of what sets a field, the
last counts: the defaults, flags, the file of --config, the ProxyConfig named
default, ProxyConfigs for this node in the order of their priorities. File and
objects are followed. What is invalid is refused, and the last good
configuration stays in force.`,
		Example: `  kube-vmap run --kubeconfig /etc/kubernetes/kube-vmap.conf --node-name "$(hostname)"
  kube-vmap run --manifests examples/demo --node-name demo-node --config proxy.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			running, err := flags.running(&sysctls, &log, &objects)
			if err != nil {
				return err
			}
			recent := &recentLines{most: keptLines}
			logger, err := log.logger(io.MultiWriter(cmd.ErrOrStderr(), recent))
			if err != nil {
				return err
			}
			a := &agent{node: running.Proxy.NodeName, flags: running, level: &log.level, serve: serve, log: logger, recent: recent}
			follow := config.Options{Base: running, File: file, Log: logger.WithName("config")}
			if err := objects.connect(a, &follow); err != nil {
				return err
			}
			a.recentEvents = &recentEvents{next: a.events, lines: recentLines{most: keptLines}}
			a.events = a.recentEvents
			if a.config, err = config.New(follow); err != nil {
				return err
			}
			logger.Info("start", "version", version, "node", a.node)
			return a.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "file with a ProxyConfig, which overrides the flags; it is followed")
	flags.register(cmd.Flags())
	log.register(cmd.Flags())
	sysctls.register(cmd.Flags())
	serve.register(cmd.Flags())
	objects.register(cmd.Flags())
	return cmd
}
