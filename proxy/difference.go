package proxy

import (
	"context"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Differences asks the loop in what the kernel's table differs from what it should
// be, as the nft commands that would put it right. It reads the whole table.
func (p *Proxy) Differences(ctx context.Context) ([]string, error) {
	var lines []string
	err := p.call(ctx, func() (err error) {
		lines, err = differences(p.cluster, &p.locality, *p.tracker.Options(), p.dataplane)
		return err
	})
	return lines, err
}

// Desired asks the loop for the table as it should be, with slots as if it were made
// now.
func (p *Proxy) Desired(ctx context.Context) (*nft.Table, error) {
	var table *nft.Table
	err := p.ask(ctx, func() { table = desiredTable(p.cluster, &p.locality, p.tracker.Options()) })
	return table, err
}

// Differences is that of a Proxy for objects that nobody serves, or whose agent can't be
// asked. Whether the table is owned is left as it is.
func Differences(config Config, u model.Update, dp Dataplane) ([]string, error) {
	c := newCluster()
	c.apply(&u)
	locality := config.locality(c)
	snapshot, err := dp.ReadStructure(config.Table, func(string) bool { return false })
	if err != nil {
		return nil, err
	}
	opts := config.options(c)
	if t := snapshot.Table; t != nil {
		opts.Owned, opts.Persist = t.Owned || t.Persist, t.Persist
	}
	return differences(c, &locality, opts, dp)
}

// differences plans what would be written, and writes nothing.
func differences(c *cluster, loc *ruleset.Locality, opts ruleset.Options, dp Dataplane) ([]string, error) {
	t := ruleset.NewTracker(opts)
	if _, err := adopt(dp, t); err != nil {
		return nil, err
	}
	for name, svc := range c.services {
		t.Set(name, ruleset.Desire(svc, c.byService[name], loc, &opts))
	}
	lines := []string{}
	claim := "add table inet " + opts.Table // an owned table whose owner is gone is as good
	exists := t.Kernel() != nil
	for _, tx := range t.Plan(true).Transactions {
		for _, line := range tx.Lines() {
			if !exists || tx.ReplacesTable() || strings.TrimSpace(line) != claim {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}
