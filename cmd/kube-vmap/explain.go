package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
)

func explainCommand() *cobra.Command {
	var (
		output, from string
		client       agentClient
		other        otherObjects
	)
	cmd := &cobra.Command{
		Use:   "explain ADDRESS:PORT[/PROTOCOL]",
		Short: "Say what becomes of a connection, and why",
		Long: `Explain says what becomes of a new connection to an address and port on this node:
which Service has it, the way through the table's chains, the endpoints that it
may reach, and for each endpoint that gets no connections why not. If it is
refused or dropped, the reason.

What happens is read from the kernel's table; the reasons come from the agent on
this node, or with --manifests or --kubeconfig from there. Without either they
are left out. The protocol is tcp unless given.

The exit code is 0 if connections are forwarded, 1 if none are, 2 if it can't be
told.`,
		Example: `  kube-vmap explain 10.96.0.10:53/udp
  kube-vmap explain 203.0.113.20:443 --from 198.51.100.7
  kube-vmap explain '[fd00:10:96::a]:53/udp' -o json
  kubectl -n kube-system exec kube-vmap-x7k2p -- kube-vmap explain 10.96.0.10:53/udp`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFrontends,
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := parseQuery(args[0], from)
			if err != nil {
				return untold(err)
			}
			if err := checkOutput(output); err != nil {
				return untold(err)
			}
			answer, err := explainQuery(cmd.Context(), query, &client, &other)
			if err != nil {
				return untold(err)
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), answer)
			} else {
				err = printAnswer(cmd.OutOrStdout(), &answer)
			}
			if err != nil {
				return untold(err)
			}
			return answered(answer.Reaches())
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "address that the connection comes from (default: anywhere)")
	addOutput(cmd, &output)
	client.register(cmd.Flags())
	other.register(cmd)
	return cmd
}

func explainQuery(ctx context.Context, q explain.Query, client *agentClient, other *otherObjects) (explain.Answer, error) {
	objects, asking := objectsAbout(ctx, q, client, other)
	if asking != nil && !errors.Is(asking, errNoAgent) {
		return explain.Answer{}, asking
	}
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return explain.Answer{}, err
	}
	defer conn.Close()
	host, err := proxy.Collect(ctx, hostaddrs.New(hostaddrs.Options{Log: logr.Discard()}))
	if err != nil {
		return explain.Answer{}, err
	}
	table, err := proxy.ReadKernel(ruleset.DefaultTable, conn, q, *host.HostAddrs)
	if err != nil {
		return explain.Answer{}, err
	}
	answer := explain.Explain(q, &table, objects)
	if asking != nil {
		answer.Notes = append(answer.Notes, asking.Error())
	}
	return answer, nil
}

// objectsAbout asks for the objects: the agent, unless others are given.
func objectsAbout(ctx context.Context, q explain.Query, client *agentClient, other *otherObjects) (*explain.Objects, error) {
	if other.given() {
		config, update, err := other.read(ctx)
		if err != nil {
			return nil, err
		}
		objects := proxy.ObjectsOf(config, update, q.To)
		return &objects, nil
	}
	var objects explain.Objects
	if err := client.ask(ctx, frontendPath(q.To), &objects); err != nil {
		return nil, err
	}
	return &objects, nil
}

// printAnswer prints the sentence first, and then what it comes from.
func printAnswer(w io.Writer, a *explain.Answer) error {
	p := &page{w: w}
	p.text("", a.Summary)
	if a.ServicePort != "" {
		p.line("")
		p.line("%s  %s of %s, class %d", a.To, a.Kind, a.ServicePort, a.Class)
	}
	for i := range a.Outcomes {
		o := &a.Outcomes[i]
		p.line("")
		title := "The way"
		if len(o.Clients) > 0 {
			title += " from " + strings.Join(o.Clients, " and ")
		}
		p.line("%s: %s%s", title, o.Verdict, map[bool]string{true: ", masqueraded"}[o.Masqueraded])
		rows := [][]string{}
		for _, s := range o.Steps {
			rows = append(rows, []string{"  " + s.Chain, s.Does})
		}
		p.table(rows)
	}
	p.slots("Slots", a.Slots)
	p.slots("Slots for connections from outside", a.Local)
	if len(a.Unused) > 0 {
		p.line("")
		p.line("Endpoints that get no connections:")
		rows := [][]string{}
		for _, u := range a.Unused {
			rows = append(rows, []string{"  " + u.Address.String(), dash(u.Node), u.State, u.Why})
		}
		p.table(rows)
	}
	if len(a.Notes) > 0 {
		p.line("")
	}
	for _, n := range a.Notes {
		p.text("note: ", n)
	}
	return p.err
}

func (p *page) slots(title string, slots []explain.Slot) {
	if len(slots) == 0 {
		return
	}
	const most = 20
	p.line("")
	p.line("%s:", title)
	rows := [][]string{}
	for i, s := range slots {
		if i == most {
			rows = append(rows, []string{fmt.Sprintf("  and %d more", len(slots)-most)})
			break
		}
		rows = append(rows, []string{fmt.Sprintf("  %d", s.Number), s.Address.String(), s.Node, s.State})
	}
	p.table(rows)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// completeFrontends completes with the frontends that the kernel has.
func completeFrontends(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer conn.Close()
	frontends, err := proxy.ReadFrontends(proxy.DefaultConfig(), conn)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list []string
	for i := range frontends {
		f := &frontends[i]
		text := fmt.Sprintf("%s/%s", netip.AddrPortFrom(f.Key.Addr, f.Key.Port), strings.ToLower(f.Key.Protocol.String()))
		if strings.HasPrefix(text, typed) {
			list = append(list, text+"\t"+f.Service)
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
