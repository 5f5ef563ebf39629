package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

func statusCommand() *cobra.Command {
	var (
		output string
		client agentClient
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether Services are served on this node, and what is wrong if not",
		Long: `Status asks the agent on this node how it does, and the kernel what it has: whether
the table is complete and up to date, since when, the last transaction and error,
objects of which something can't be used, and changes by other processes. Without
an agent it says what the kernel serves.

The exit code is 0 if the table serves and the agent keeps it up to date, 1 if
something of that is wrong, 2 if it can't be told. Quarantined objects are listed,
and are no fault of the node.`,
		Example: `  kube-vmap status
  kubectl -n kube-system exec kube-vmap-x7k2p -- kube-vmap status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return untold(err)
			}
			s, err := readStatus(cmd.Context(), &client)
			if err != nil {
				return untold(err)
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.print(cmd.OutOrStdout(), time.Now())
			}
			if err != nil {
				return untold(err)
			}
			return answered(s.Healthy)
		},
	}
	addOutput(cmd, &output)
	client.register(cmd.Flags())
	return cmd
}

// nodeStatus is what the agent and the kernel say.
type nodeStatus struct {
	Healthy  bool         `json:"healthy"`
	Problems []string     `json:"problems"`
	Agent    *agentStatus `json:"agent"` // null: none answers
	Kernel   kernelStatus `json:"kernel"`
}

// kernelStatus is what the kernel has.
type kernelStatus struct {
	Table     bool   `json:"table"`  // it is there
	Hooked    bool   `json:"hooked"` // packets meet it
	Owned     bool   `json:"owned"`  // other processes can't change it now
	Persist   bool   `json:"persist"`
	Counters  string `json:"counters"`
	Frontends int    `json:"frontends"`
	Idle      int    `json:"frontendsWithoutEndpoints"`
	Release   string `json:"release"` // of the kernel
}

func readStatus(ctx context.Context, client *agentClient) (*nodeStatus, error) {
	s := &nodeStatus{Problems: []string{}}
	var agent agentStatus
	switch err := client.ask(ctx, "/status", &agent); {
	case err == nil:
		s.Agent = &agent
	case errors.Is(err, errNoAgent):
		s.Problems = append(s.Problems, err.Error())
	default:
		return nil, err
	}
	var err error
	if s.Kernel, err = readKernelStatus(); err != nil {
		return nil, err
	}
	s.judge()
	return s, nil
}

func readKernelStatus() (k kernelStatus, err error) {
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return k, err
	}
	defer conn.Close()
	k.Release = kernel.Release()
	snapshot, err := conn.ReadStructure(ruleset.DefaultTable, func(string) bool { return false })
	if err != nil || snapshot.Table == nil {
		return k, err
	}
	t := snapshot.Table
	k.Table, k.Owned, k.Persist = true, t.Owned, t.Persist
	k.Hooked = slices.ContainsFunc(t.Chains, func(c *nft.Chain) bool { return c.Base != nil }) && !t.Dormant
	k.Counters = countersOf(t).String()
	frontends, err := proxy.ReadFrontends(proxy.DefaultConfig(), conn)
	k.Frontends = len(frontends)
	for i := range frontends {
		if len(frontends[i].Backends()) == 0 {
			k.Idle++
		}
	}
	return k, err
}

func countersOf(t *nft.Table) ruleset.Counters {
	level := ruleset.CountNothing
	for _, s := range t.Sets {
		switch {
		case s.Counters && s.IsMap():
			return ruleset.CountEndpoints
		case s.Counters:
			level = ruleset.CountServices
		}
	}
	return level
}

// judge finds what is wrong.
func (s *nodeStatus) judge() {
	problem := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	switch {
	case !s.Kernel.Table:
		problem("the kernel has no table inet %s: no Service is served", ruleset.DefaultTable)
	case !s.Kernel.Hooked:
		problem("packets do not meet the table yet: it is being loaded")
	}
	if a := s.Agent; a != nil {
		switch {
		case !a.Ready:
			problem("the agent has not completed the table yet: it waits for objects, or the kernel refuses them")
		case !a.Synced:
			problem("the table is not up to date: %s to go", plural(a.Pending, "Service"))
		}
		if a.LastError != nil && a.LastError.Lasting {
			problem("the last sync failed: %s", a.LastError.Message)
		}
	}
	s.Healthy = len(s.Problems) == 0
}

// print prints the status for people. now is the time that ages count from.
func (s *nodeStatus) print(w io.Writer, now time.Time) error {
	p := &page{w: w}
	p.line("%s", s.headline())
	for _, problem := range s.Problems {
		p.text("  - ", problem)
	}
	p.line("")
	rows := s.Kernel.rows()
	if a := s.Agent; a != nil {
		rows = append(rows, a.rows(now)...)
	}
	p.table(rows)
	if s.Agent != nil {
		s.Agent.lists(p)
	}
	return p.err
}

func (s *nodeStatus) headline() string {
	switch {
	case s.Healthy:
		text := fmt.Sprintf("healthy: kube-vmap %s serves Services on %s", s.Agent.Version, s.Agent.Node)
		if n := len(s.Agent.Quarantined); n > 0 {
			text += fmt.Sprintf(", but for %s in quarantine", plural(n, "object"))
		}
		return text
	case s.Agent == nil && s.Kernel.Hooked:
		return "no agent runs, and the table serves as it was left: changes of Services do not come here"
	case s.Agent == nil:
		return "no agent runs, and no table serves"
	}
	return fmt.Sprintf("not healthy: kube-vmap %s on %s", s.Agent.Version, s.Agent.Node)
}

// rows are the lines about the kernel.
func (k *kernelStatus) rows() [][]string {
	rows := [][]string{{"kernel", k.Release}}
	if !k.Table {
		return rows
	}
	owner := "not owned: other processes can change it"
	switch {
	case k.Owned:
		owner = "owned: other processes can't change it"
	case k.Persist:
		owner = "its owner is gone: other processes can change it"
	}
	serves := plural(k.Frontends, "frontend")
	if k.Idle > 0 {
		serves += fmt.Sprintf(", %d without endpoints", k.Idle)
	}
	return append(rows,
		[]string{"table", fmt.Sprintf("inet %s, %s", ruleset.DefaultTable, owner)},
		[]string{"serves", serves},
		[]string{"counters", k.Counters})
}

// rows are the lines about the agent.
func (a *agentStatus) rows(now time.Time) [][]string {
	rows := [][]string{
		{"objects", plural(a.Services, "Service") + " with " + plural(a.Endpoints, "endpoint")},
		{"started", when(a.Started, now)},
	}
	if !a.Since.IsZero() {
		rows = append(rows, []string{"complete", "since " + when(a.Since, now)})
	}
	if t := a.LastTransaction; t != nil {
		rows = append(rows, []string{"last change", fmt.Sprintf("%s: %s in %s",
			when(t.Time, now), plural(t.Operations, "operation"), time.Duration(t.Duration).Round(time.Microsecond))})
	}
	if e := a.LastError; e != nil && !e.Lasting {
		rows = append(rows, []string{"last error", fmt.Sprintf("%s, overcome since: %s", when(e.Time, now), e.Message)})
	}
	repairs := "none"
	if f := a.LastForeign; f != nil {
		who := "a process unknown"
		if f.Process != "" {
			who = fmt.Sprintf("%s (pid %d)", f.Process, f.PID)
		}
		repairs = fmt.Sprintf("%d, the last after a change by %s, %s", a.Repairs, who, when(f.Time, now))
	}
	return append(rows, []string{"repairs", repairs})
}

// lists are the objects that don't get what they want.
func (a *agentStatus) lists(p *page) {
	const most = 20
	if len(a.Quarantined) > 0 {
		p.line("")
		p.line("quarantined: %d", len(a.Quarantined))
		for _, q := range a.Quarantined[:min(most, len(a.Quarantined))] {
			p.text("  ", q.Object+": "+q.Reason)
		}
	}
	if len(a.Conflicts) > 0 {
		p.line("")
		p.line("conflicts: %d", len(a.Conflicts))
		for _, c := range a.Conflicts[:min(most, len(a.Conflicts))] {
			p.text("  ", fmt.Sprintf("Service %s does not get %s, which belongs to the older Service %s", c.Service, c.Frontend, c.Winner))
		}
	}
	if n := max(len(a.Quarantined), len(a.Conflicts)); n > most {
		p.line("  and more: see -o json")
	}
}

// when is a time with its age.
func when(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05 UTC"), age(now.Sub(t)))
}

// age is a duration in one unit.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return plural(max(0, int(d.Seconds())), "second")
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
