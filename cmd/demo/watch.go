package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// frontends reads the frontends of the service from the node's kernel.
func (s *stage) frontends() ([]ruleset.FrontendStatus, error) {
	all, err := proxy.ReadFrontends(proxy.DefaultConfig(), s.conn)
	if err != nil {
		return nil, err
	}
	var ours []ruleset.FrontendStatus
	for _, f := range all {
		if f.Service == service+":http" {
			ours = append(ours, f)
		}
	}
	return ours, nil
}

// commit is a change of the table as the kernel told of it.
type commit struct {
	kernel.ForeignCommit
	at time.Time
}

// watch tells of each commit to the table, from outside the agent.
func (s *stage) watch(ctx context.Context) (<-chan commit, func(), error) {
	monitor, err := s.conn.Watch(ruleset.DefaultTable)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	commits := make(chan commit, 64)
	go func() {
		defer monitor.Close()
		defer close(commits)
		for {
			c, err := monitor.Next(ctx)
			if err != nil {
				return
			}
			commits <- commit{c, time.Now()}
		}
	}()
	return commits, cancel, nil
}

// awaitBackends waits for the commit after which each frontend of the service has
// n backends.
func (s *stage) awaitBackends(ctx context.Context, commits <-chan commit, n int) (commit, error) {
	for {
		select {
		case c, ok := <-commits:
			if !ok && ctx.Err() != nil {
				return commit{}, ctx.Err()
			}
			if !ok {
				return commit{}, fmt.Errorf("the kernel's notifications ended")
			}
			done, err := s.haveBackends(n)
			if done || err != nil {
				return c, err
			}
		case <-time.After(10 * time.Second):
			return commit{}, fmt.Errorf("the kernel has not %d backends per frontend after 10 s; the agent logged last: %s", n, s.agent.lastLine())
		case <-ctx.Done():
			return commit{}, ctx.Err()
		}
	}
}

func (s *stage) haveBackends(n int) (bool, error) {
	frontends, err := s.frontends()
	for i := range frontends {
		if len(frontends[i].Backends()) != n {
			return false, err
		}
	}
	return len(frontends) > 0, err
}
