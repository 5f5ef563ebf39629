package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
)

// sysctlFlags are kube-proxy's flags for conntrack, by the same names.
type sysctlFlags struct{ conntrack.Sysctls }

func (f *sysctlFlags) register(fs *pflag.FlagSet) {
	f.Sysctls = conntrack.DefaultSysctls()
	fs.Int32Var(&f.MaxPerCore, "conntrack-max-per-core", f.MaxPerCore, "raise nf_conntrack_max to this many flows for each CPU; 0 leaves it")
	fs.Int32Var(&f.Min, "conntrack-min", f.Min, "but at least to this many")
	fs.DurationVar(&f.TCPEstablishedTimeout, "conntrack-tcp-timeout-established", f.TCPEstablishedTimeout, "idle time of established TCP connections; 0 leaves it")
	fs.DurationVar(&f.TCPCloseWaitTimeout, "conntrack-tcp-timeout-close-wait", f.TCPCloseWaitTimeout, "time of TCP connections in CLOSE_WAIT; 0 leaves it")
	fs.BoolVar(&f.TCPBeLiberal, "conntrack-tcp-be-liberal", f.TCPBeLiberal, "take TCP packets outside the window for valid")
	fs.DurationVar(&f.UDPTimeout, "conntrack-udp-timeout", f.UDPTimeout, "idle time of unanswered UDP flows; 0 leaves it")
	fs.DurationVar(&f.UDPStreamTimeout, "conntrack-udp-timeout-stream", f.UDPStreamTimeout, "idle time of answered UDP flows; 0 leaves it")
}

func sysctlsCommand() *cobra.Command {
	var flags sysctlFlags
	cmd := &cobra.Command{
		Use:   "sysctls",
		Short: "Set conntrack's sysctls",
		Long: `Sysctls sets conntrack's sysctls as "run" does, and ends. It is for an init
container, or a unit at boot, that may write to /proc/sys, so that "run" does
not have to. What can't be set is a warning: Services work without.`,
		Example: `  kube-vmap sysctls
  kube-vmap sysctls --conntrack-max-per-core 65536 --conntrack-udp-timeout 10s`,
		Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			if err := conntrack.Load(); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err)
			}
			for _, err := range flags.Apply("/proc/sys") {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err)
			}
		},
	}
	flags.register(cmd.Flags())
	return cmd
}
