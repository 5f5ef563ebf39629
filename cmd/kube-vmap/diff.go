package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
)

func diffCommand() *cobra.Command {
	var (
		output string
		client agentClient
		other  otherObjects
	)
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Compare the kernel's table with what the objects ask for",
		Long: `Diff reads the table from the kernel and prints in what it differs from what the
objects ask for, element by element, as the nft commands that would put it right.
Nothing is changed. An agent that runs repairs differences at once; so what this
prints is what somebody has just changed, or what the agent can't write.

The objects are those that the agent on this node knows, or with --manifests or
--kubeconfig those that are there. Then the flags of "kube-vmap run" count here too:
give the same.

The exit code is 0 if the table is as it should be, 1 if it differs, 2 if it can't
be told.`,
		Example: `  kube-vmap diff
  kube-vmap diff --manifests examples/demo --node-name demo-node`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return untold(err)
			}
			lines, err := differences(cmd.Context(), &client, &other)
			if err != nil {
				return untold(err)
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), struct {
					Equal       bool     `json:"equal"`
					Differences []string `json:"differences"`
				}{len(lines) == 0, append([]string{}, lines...)})
			} else {
				err = printDifferences(&page{w: cmd.OutOrStdout()}, lines)
			}
			if err != nil {
				return untold(err)
			}
			return answered(len(lines) == 0)
		},
	}
	addOutput(cmd, &output)
	client.register(cmd.Flags())
	other.register(cmd)
	return cmd
}

func printDifferences(p *page, lines []string) error {
	if len(lines) == 0 {
		p.line("the table is what the objects ask for")
	}
	for _, line := range lines {
		p.line("%s", line)
	}
	return p.err
}

func differences(ctx context.Context, client *agentClient, other *otherObjects) ([]string, error) {
	if !other.given() {
		var lines []string
		err := client.ask(ctx, "/diff", &lines)
		if errors.Is(err, errNoAgent) {
			err = fmt.Errorf("%w; give --manifests or --kubeconfig to compare with the objects themselves", err)
		}
		return lines, err
	}
	config, update, err := other.read(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return proxy.Differences(config, update, conn)
}
