package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

func servicesCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "services",
		Short: "List the frontends that the kernel serves",
		Long: `Services reads the table from the kernel and lists its frontends: the address
that clients connect to, and the backends that get the connections.`,
		Example: `  kube-vmap services
  kube-vmap services -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			conn, err := kernel.Dial(kernel.Options{})
			if err != nil {
				return err
			}
			defer conn.Close()
			frontends, err := proxy.ReadFrontends(proxy.DefaultConfig(), conn)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), frontends)
			}
			return printFrontends(cmd.OutOrStdout(), frontends)
		},
	}
	addOutput(cmd, &output)
	return cmd
}

// frontendJSON is one frontend in -o json.
type frontendJSON struct {
	Service  string   `json:"service"`
	Address  string   `json:"address"`
	Port     uint16   `json:"port"`
	Protocol string   `json:"protocol"`
	Kind     string   `json:"kind"`
	Policy   string   `json:"externalTrafficPolicy,omitempty"`
	Class    uint32   `json:"class"`
	Backends []string `json:"backends"`
	Local    []string `json:"localBackends,omitempty"`
	Blocked  string   `json:"blocked,omitempty"`
	Affinity int64    `json:"affinitySeconds,omitempty"`
	Sources  int      `json:"sourceRanges,omitempty"`
}

func printJSON(w io.Writer, frontends []ruleset.FrontendStatus) error {
	list := make([]frontendJSON, len(frontends))
	for i := range frontends {
		f := &frontends[i]
		list[i] = frontendJSON{
			Service: f.Service, Address: f.Key.Addr.String(), Port: f.Key.Port, Protocol: f.Key.Protocol.String(),
			Kind: f.Kind.String(), Class: uint32(f.Class), Backends: texts(f.Slots), Local: texts(f.Local),
			Blocked: f.Blocked.String(), Affinity: int64(f.Affinity.Seconds()), Sources: f.Sources,
		}
		if f.Kind.IsExternal() {
			list[i].Policy = f.Policy.String()
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

func texts(slots ruleset.Slots) []string {
	list := []string{}
	for _, b := range slots {
		if b.IsValid() {
			list = append(list, b.String())
		}
	}
	return list
}

// printFrontends prints a table. Of many backends it shows the first.
func printFrontends(w io.Writer, frontends []ruleset.FrontendStatus) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SERVICE\tADDRESS\tKIND\tPOLICY\tCLASS\tBACKENDS")
	for i := range frontends {
		f := &frontends[i]
		policy := "-"
		if f.Kind.IsExternal() {
			policy = f.Policy.String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\n", f.Service, f.Key, f.Kind, policy, f.Class, backendsColumn(f))
	}
	return tw.Flush()
}

func backendsColumn(f *ruleset.FrontendStatus) string {
	backends := f.Backends()
	if f.Policy == model.PolicyLocal && f.Blocked == ruleset.Unblocked {
		return fmt.Sprintf("%s (outside: %s)", shorten(backends), shorten((&ruleset.FrontendStatus{Slots: f.Local}).Backends()))
	}
	if f.Blocked != ruleset.Unblocked {
		return strings.TrimSpace(shorten(backends) + " " + f.Blocked.String())
	}
	return shorten(backends)
}

// shorten lists up to three backends and says how many more there are.
func shorten(backends []model.Backend) string {
	const most = 3
	var parts []string
	for i, b := range backends {
		if i == most {
			parts = append(parts, fmt.Sprintf("+%d", len(backends)-most))
			break
		}
		parts = append(parts, b.String())
	}
	return strings.Join(parts, ",")
}
