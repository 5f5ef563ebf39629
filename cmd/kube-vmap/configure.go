package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// configurer takes configurations over into a running agent.
type configurer struct {
	*agent
	proxy   *proxy.Proxy
	metrics *metrics.Metrics
	canOwn  bool // the kernel can keep a table for its owner

	mu      sync.Mutex // below: the follower's goroutine writes, others read
	running config.Running
	synced  bool   // the table was complete once
	told    string // which refusal
}

// now is the configuration in force.
func (c *configurer) now() config.Running {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

// begin takes the first configuration, before there is a proxy; the source of
// objects was made by the flags' alone.
func (c *configurer) begin(flags, first config.Running) (err error) {
	if c.running, err = c.owned(first); err == nil {
		c.take(flags, c.running)
	}
	return err
}

// apply takes another configuration over while the agent runs.
func (c *configurer) apply(ctx context.Context, r config.Running) error {
	r, err := c.owned(r)
	if err != nil {
		return err
	}
	if err := c.proxy.Reconfigure(ctx, r.Proxy); err != nil {
		return err
	}
	c.mu.Lock()
	before, synced := c.running, c.synced
	c.running = r
	c.mu.Unlock()
	renamed := c.take(before, r)
	if !synced {
		c.await(ctx, renamed)
	}
	if synced && r.Sysctls != before.Sysctls {
		c.setSysctls(r.Sysctls)
	}
	return nil
}

// take takes over what isn't the proxy's.
// done is closed when the Services of another name are delivered, and nil if the
// name is the same.
func (c *configurer) take(before, now config.Running) (done <-chan struct{}) {
	c.level.Set(slog.Level(-now.Verbosity))
	if r, ok := c.objects.(source.Renamer); ok && before.ServiceProxyName != now.ServiceProxyName {
		return r.SetServiceProxyName(now.ServiceProxyName)
	}
	return nil
}

// await keeps the first transaction from programming the Services of the name that
// the flags say: an agent that starts anew would take the others away for a moment.
func (c *configurer) await(ctx context.Context, renamed <-chan struct{}) {
	const patience = 5 * time.Second
	if renamed == nil {
		return
	}
	select {
	case <-renamed:
	case <-ctx.Done():
	case <-time.After(patience):
	}
}

// complete sets the sysctls when the table is complete for the first time.
func (c *configurer) complete() {
	c.mu.Lock()
	c.synced = true
	s := c.running.Sysctls
	c.mu.Unlock()
	c.setSysctls(s)
}

func (c *configurer) setSysctls(s conntrack.Sysctls) {
	for _, warning := range s.Apply("/proc/sys") {
		c.log.Info("sysctl not set", "reason", warning.Error())
	}
}

// owned decides whether the table is owned, which the kernel may not be able to.
func (c *configurer) owned(r config.Running) (config.Running, error) {
	r.Proxy.Own = c.canOwn && r.Ownership != v1alpha1.OwnershipDisabled
	if r.Ownership == v1alpha1.OwnershipRequired && !c.canOwn {
		return r, errors.New("tableOwnership: Required (--table-ownership=on): this kernel can't keep an owned table when its owner ends; that needs 6.9, use Auto")
	}
	return r, nil
}

// canOwn reports whether the kernel can keep a table for its owner.
func canOwn(conn *kernel.Conn) (bool, error) {
	// A table that persists shows that the kernel can; to try it is a commit.
	snapshot, err := conn.ReadStructure(ruleset.DefaultTable, func(string) bool { return false })
	if err != nil {
		return false, err
	}
	if snapshot.Table != nil && snapshot.Table.Persist {
		return true, nil
	}
	return conn.CanPersist()
}

// tell counts what is refused, and records it once: on the ProxyConfig whose fault
// it is, else on the node.
func (c *configurer) tell(r config.Report) {
	c.metrics.ConfigurationRefused(r.Err != nil)
	text := ""
	if r.Err != nil {
		text = r.Err.Error()
	}
	if refused := r.Refused; refused != nil {
		text = fmt.Sprintf("%s (generation %d)", text, refused.Generation)
	}
	if text == c.told {
		return
	}
	c.told = text
	if text == "" || c.events == nil {
		return
	}
	object := model.ObjectRef{Kind: "Node", Name: c.node}
	if r.Refused != nil {
		object = model.ObjectRef{Kind: v1alpha1.KindProxyConfig, Name: r.Refused.Name, UID: string(r.Refused.UID)}
	}
	c.events.Event(object, proxy.Warning, "ConfigurationRefused", fmt.Sprintf(
		"node %s keeps its last good configuration: %v", c.node, r.Err))
}
