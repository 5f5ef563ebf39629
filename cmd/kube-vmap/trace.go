package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/trace"
)

func traceCommand() *cobra.Command {
	var (
		output, from string
		count        int
		timeout      time.Duration
	)
	cmd := &cobra.Command{
		Use:   "trace ADDRESS:PORT[/PROTOCOL]",
		Short: "Follow live connections through the node's rules",
		Long: `Trace waits for new connections to an address and port, and prints each rule that
their first packet meets, in kube-vmap's table and in all others. The packets are
real ones: make some while it waits.

It adds a table of its own, kube-vmap-trace, which is removed when it ends, also
if it is killed. Only the first packet of a connection is followed, since only
that one meets the rules of Services. Other packets do not get slower.

The exit code is 0 if packets came, 1 if none did, 2 if it can't trace.`,
		Example: `  kube-vmap trace 10.96.0.10:53/udp
  kube-vmap trace 203.0.113.20:443 --from 198.51.100.7 --count 3 --timeout 1m`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFrontends,
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := parseQuery(args[0], from)
			if err == nil {
				err = checkOutput(output)
			}
			if err == nil && count < 0 {
				err = fmt.Errorf("--count=%d: must be 0 or more", count)
			}
			if err != nil {
				return untold(err)
			}
			conn, err := kernel.Dial(kernel.Options{})
			if err != nil {
				return untold(err)
			}
			defer conn.Close()
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			packets, err := trace.Run(ctx, conn, trace.Options{
				Query: query, Count: count, Table: ruleset.DefaultTable, Visit: printPacket(cmd.OutOrStdout(), output == "json"),
				Ready: func() {
					fmt.Fprintf(cmd.ErrOrStderr(), "waiting for new connections to %s; Ctrl-C ends\n", query.To)
				},
			})
			if err != nil {
				return untold(err)
			}
			return answered(packets > 0)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "address that the connections come from (default: anywhere)")
	cmd.Flags().IntVar(&count, "count", 1, "how many connections to follow; 0: until it is ended")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: until it is ended")
	addOutput(cmd, &output)
	return cmd
}

// printPacket prints one packet: a JSON object a line, or a table.
func printPacket(w io.Writer, asJSON bool) func(*trace.Packet) error {
	n := 0
	return func(packet *trace.Packet) error {
		if asJSON {
			return json.NewEncoder(w).Encode(packet)
		}
		p := &page{w: w}
		if n > 0 {
			p.line("")
		}
		n++
		p.line("%s%s", packet.Flow, interfaces(packet.Steps))
		table := ""
		for i := range packet.Steps {
			s := &packet.Steps[i]
			if s.Flow != "" {
				p.line("  now %s", s.Flow)
			}
			if s.Table != table {
				table = s.Table
				p.line("  table %s", table)
			}
			p.step(s)
		}
		return p.err
	}
}

// step prints a rule with what it decided, unless its text says that.
func (p *page) step(s *trace.Step) {
	text := frontendFields.Replace(s.Rule)
	if !strings.HasSuffix(text, s.Verdict) {
		text += " -> " + s.Verdict
	}
	if s.Rule == "" {
		text = s.Verdict
	}
	line := fmt.Sprintf("    %-22s  %s", s.Chain, text)
	if len(line) > pageWidth {
		line = line[:pageWidth-3] + "..."
	}
	p.line("%s", line)
}

// frontendFields names what identifies a frontend in a packet, for short.
var frontendFields = strings.NewReplacer(
	"ip daddr . meta l4proto . th dport", "frontend",
	"ip6 daddr . meta l4proto . th dport", "frontend",
)

// interfaces says by which the packet came in and goes out.
func interfaces(steps []trace.Step) string {
	in, out := 0, 0
	for i := range steps {
		if in == 0 {
			in = steps[i].In
		}
		if steps[i].Out != 0 {
			out = steps[i].Out
		}
	}
	text := ""
	if in != 0 {
		text += ", in by " + interfaceName(in)
	}
	if out != 0 {
		text += ", out by " + interfaceName(out)
	}
	return text
}

func interfaceName(index int) string {
	if device, err := net.InterfaceByIndex(index); err == nil {
		return device.Name
	}
	return fmt.Sprint(index)
}
