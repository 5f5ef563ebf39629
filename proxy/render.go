package proxy

import (
	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Render computes the whole table for what an update holds, from nothing and
// without a kernel.
func Render(config Config, u model.Update) *nft.Table {
	c := newCluster()
	c.apply(&u)
	opts, locality := config.options(c), config.locality(c)
	t := ruleset.NewTracker(opts)
	for name, svc := range c.services {
		t.Set(name, ruleset.Desire(svc, c.byService[name], &locality, &opts))
	}
	t.Commit(t.Plan(true))
	return t.Table()
}

// ReadFrontends reads what the kernel has for each frontend.
func ReadFrontends(config Config, dp Dataplane) ([]ruleset.FrontendStatus, error) {
	t := ruleset.NewTracker(config.options(newCluster()))
	if _, err := adopt(dp, t); err != nil {
		return nil, err
	}
	return t.List(), nil
}

// SetNames are the names of all sets and maps that a table may have.
func SetNames() []string {
	config := DefaultConfig()
	var names []string
	for _, s := range Render(config, model.Update{}).Sets {
		names = append(names, s.Name)
	}
	return names
}
