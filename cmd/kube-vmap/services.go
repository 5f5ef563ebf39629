package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

func servicesCommand() *cobra.Command {
	var (
		output string
		filter serviceFilter
	)
	cmd := &cobra.Command{
		Use:   "services [NAME]",
		Short: "List the frontends that the kernel serves, and their connections",
		Long: `Services reads the table from the kernel and lists its frontends: the address and
port that clients connect to, how many endpoints get the connections, and how many
new connections there were since the frontend was made (not since the agent
started; "off" with --counters=off). It needs no agent.

With -o wide it lists the endpoints, and their connections where those are counted.`,
		Example: `  kube-vmap services
  kube-vmap services -n shop web
  kube-vmap services --kind NodePort --top
  kube-vmap services --idle -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "wide" {
				if err := checkOutput(output); err != nil {
					return err
				}
			}
			if len(args) > 0 {
				filter.name = args[0]
			}
			if err := filter.check(); err != nil {
				return err
			}
			all, err := readFrontends()
			if err != nil {
				return err
			}
			list := filter.of(all.List)
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), frontendsJSON(list, all.Counted))
			}
			return printFrontends(cmd.OutOrStdout(), list, &all, output == "wide")
		},
	}
	addOutput(cmd, &output)
	cmd.Flags().Lookup("output").Usage = "output format: table, wide or json"
	filter.register(cmd.Flags())
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("namespace", completeNamespaces))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("kind",
		cobra.FixedCompletions([]cobra.Completion{"ClusterIP", "NodePort", "ExternalIP", "LoadBalancer"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func readFrontends() (proxy.CountedFrontends, error) {
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return proxy.CountedFrontends{}, err
	}
	defer conn.Close()
	return proxy.ReadCountedFrontends(ruleset.DefaultTable, conn)
}

// serviceFilter chooses frontends.
type serviceFilter struct {
	namespace, name, kind string
	port                  uint16
	idle, top             bool
}

func (f *serviceFilter) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.namespace, "namespace", "n", "", "only Services of this namespace")
	fs.StringVar(&f.kind, "kind", "", "only frontends of a kind: ClusterIP, NodePort, ExternalIP or LoadBalancer")
	fs.Uint16Var(&f.port, "port", 0, "only frontends with this port")
	fs.BoolVar(&f.idle, "idle", false, "only frontends without a usable endpoint")
	fs.BoolVar(&f.top, "top", false, "those with the most connections first")
}

func (f *serviceFilter) check() error {
	for kind := model.ClusterIP; kind <= model.LoadBalancerIP; kind++ {
		if f.kind == "" || strings.EqualFold(f.kind, kind.String()) {
			return nil
		}
	}
	return fmt.Errorf("--kind=%s: must be ClusterIP, NodePort, ExternalIP or LoadBalancer", f.kind)
}

func (f *serviceFilter) of(all []proxy.CountedFrontend) []proxy.CountedFrontend {
	list := slices.DeleteFunc(slices.Clone(all), func(s proxy.CountedFrontend) bool {
		namespace, name, _ := strings.Cut(s.Service, "/")
		name, _, _ = strings.Cut(name, ":")
		return f.namespace != "" && namespace != f.namespace || f.name != "" && name != f.name ||
			f.kind != "" && !strings.EqualFold(f.kind, s.Kind.String()) || f.port != 0 && s.Key.Port != f.port ||
			f.idle && len(s.Backends()) > 0
	})
	if f.top {
		slices.SortStableFunc(list, func(a, b proxy.CountedFrontend) int { return cmp.Compare(b.Connections, a.Connections) })
	}
	return list
}

// frontendJSON is one frontend in -o json.
type frontendJSON struct {
	Service     string            `json:"service"`
	Address     string            `json:"address"`
	Port        uint16            `json:"port"`
	Protocol    string            `json:"protocol"`
	Kind        string            `json:"kind"`
	Policy      string            `json:"externalTrafficPolicy,omitempty"`
	Class       uint32            `json:"class"`
	Backends    []string          `json:"backends"`
	Local       []string          `json:"localBackends,omitempty"`
	Blocked     string            `json:"blocked,omitempty"`
	Affinity    int64             `json:"affinitySeconds,omitempty"`
	Sources     []string          `json:"sourceRanges,omitempty"`
	Connections *uint64           `json:"connections,omitempty"` // absent: not counted
	PerBackend  map[string]uint64 `json:"connectionsPerBackend,omitempty"`
}

func frontendsJSON(frontends []proxy.CountedFrontend, counted bool) []frontendJSON {
	list := make([]frontendJSON, len(frontends))
	for i := range frontends {
		f := &frontends[i]
		j := frontendJSON{
			Service: f.Service, Address: f.Key.Addr.String(), Port: f.Key.Port, Protocol: f.Key.Protocol.String(),
			Kind: f.Kind.String(), Class: uint32(f.Class), Backends: texts(f.Slots), Local: texts(f.Local),
			Blocked: f.Blocked.String(), Affinity: int64(f.Affinity.Seconds()),
		}
		if f.Kind.IsExternal() {
			j.Policy = f.Policy.String()
		}
		for _, p := range f.Sources {
			j.Sources = append(j.Sources, p.String())
		}
		if counted {
			j.Connections = &f.Connections
		}
		for b, n := range f.PerBackend {
			if j.PerBackend == nil {
				j.PerBackend = map[string]uint64{}
			}
			j.PerBackend[b.String()] = n
		}
		list[i] = j
	}
	return list
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

// printFrontends prints a table, or with all endpoints a paragraph for each frontend.
func printFrontends(w io.Writer, list []proxy.CountedFrontend, all *proxy.CountedFrontends, wide bool) error {
	p := &page{w: w}
	switch {
	case !all.Exists:
		return errors.New("there is no table inet kube-vmap on this node: no agent has run, or \"kube-vmap cleanup\" did")
	case len(list) == 0:
		p.line("no frontend; the table has %d", len(all.List))
		return p.err
	}
	rows := [][]string{{"SERVICE", "FRONTEND", "KIND", "ENDPOINTS", "CONNECTIONS"}}
	for i := range list {
		f := &list[i]
		connections := "off"
		if all.Counted {
			connections = fmt.Sprint(f.Connections)
		}
		rows = append(rows, []string{f.Service, f.Key.String(), f.Kind.String(), endpointsColumn(f), connections})
	}
	if wide {
		p.wide(rows, list)
		return p.err
	}
	if !shorten(rows) {
		rows = stacked(rows)
	}
	p.table(rows)
	return p.err
}

// shorten cuts the services' names so that the table fits the page. It reports false
// if too little of them would be left.
func shorten(rows [][]string) bool {
	const least = 24
	room := pageWidth
	for column := 1; column < len(rows[0]); column++ {
		width := 0
		for _, row := range rows {
			width = max(width, len(row[column]))
		}
		room -= width + 2
	}
	if room < least {
		return false
	}
	for _, row := range rows {
		if name := row[0]; len(name) > room {
			row[0] = name[:room-3] + "..."
		}
	}
	return true
}

// stacked puts the services' names on lines of their own, where addresses are long.
func stacked(rows [][]string) [][]string {
	var list [][]string
	for _, row := range rows {
		name := row[0]
		if len(name) > pageWidth {
			name = name[:pageWidth-3] + "..."
		}
		list = append(list, []string{name}, append([]string{"  " + row[1]}, row[2:]...))
	}
	return list
}

func endpointsColumn(f *proxy.CountedFrontend) string {
	text := fmt.Sprint(len(f.Backends()))
	if f.Policy == model.PolicyLocal {
		text += fmt.Sprintf(", local %d", len(localBackends(f)))
	}
	if f.Blocked != ruleset.Unblocked {
		text += ": " + f.Blocked.String()
	}
	return text
}

func localBackends(f *proxy.CountedFrontend) []model.Backend {
	return (&ruleset.FrontendStatus{Slots: f.Local}).Backends()
}

// wide prints for each frontend its endpoints, a line each.
func (p *page) wide(rows [][]string, list []proxy.CountedFrontend) {
	for i := range list {
		f, row := &list[i], rows[i+1]
		if i > 0 {
			p.line("")
		}
		p.line("%s  %s  %s, class %d, connections %s", row[0], row[1], row[2], f.Class, row[4])
		if len(f.Sources) > 0 {
			p.line("  from %s only", joinPrefixes(f))
		}
		if f.Affinity > 0 {
			p.line("  session affinity %s", f.Affinity)
		}
		backends := [][]string{}
		local := localBackends(f)
		for _, b := range f.Backends() {
			row := []string{"  " + b.String(), ""}
			if slices.Contains(local, b) {
				row[1] = "local"
			}
			if f.PerBackend != nil {
				row = append(row, fmt.Sprint(f.PerBackend[b]))
			}
			backends = append(backends, row)
		}
		p.table(backends)
		if f.Blocked != ruleset.Unblocked {
			p.line("  new connections that find no endpoint: %s", f.Blocked)
		}
	}
}

func joinPrefixes(f *proxy.CountedFrontend) string {
	parts := make([]string, len(f.Sources))
	for i, s := range f.Sources {
		parts[i] = s.String()
	}
	return strings.Join(parts, ", ")
}

// completeNamespaces completes with the namespaces of Services.
func completeNamespaces(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	all, err := readFrontends()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range all.List {
		namespace, _, _ := strings.Cut(all.List[i].Service, "/")
		if strings.HasPrefix(namespace, typed) && !slices.Contains(names, namespace) {
			names = append(names, namespace)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeServices completes with the names of Services.
func completeServices(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := readFrontends()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	wanted, _ := cmd.Flags().GetString("namespace") // it is registered
	var names []string
	for i := range all.List {
		namespace, name, _ := strings.Cut(all.List[i].Service, "/")
		name, _, _ = strings.Cut(name, ":")
		if strings.HasPrefix(name, typed) && (wanted == "" || wanted == namespace) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
