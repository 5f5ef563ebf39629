package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/go-logr/logr"
	"k8s.io/client-go/dynamic"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/fleet"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
)

// agent is a proxy with everything that works beside it.
type agent struct {
	node    string
	flags   config.Running
	serve   serveFlags
	objects source.Source
	config  *config.Follower
	events  proxy.Recorder
	api     dynamic.Interface // nil without a cluster
	close   func()            // ends what connect began; may be nil
	log     logr.Logger
	level   *slog.LevelVar

	recent       *recentLines // of the log
	recentEvents *recentEvents
}

// run connects to the kernel and works until the context ends.
func (a *agent) run(ctx context.Context) (err error) {
	if a.close != nil {
		defer a.close()
	}
	writer, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return err
	}
	reader, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return errors.Join(err, writer.Close())
	}
	defer func() { err = errors.Join(err, reader.Close(), writer.Close()) }()
	start := &configurer{agent: a}
	if start.canOwn, err = canOwn(writer); err != nil {
		return err
	}
	if err := start.begin(a.flags, a.config.Start()); err != nil {
		return err
	}
	p := proxy.New(start.now().Proxy, writer, a.log, a.config.Beside(a.objects), a.config,
		hostaddrs.New(hostaddrs.Options{Log: a.log.WithName("hostaddrs")}))
	start.proxy = p
	p.EnforceBindings(reader)
	p.RepairForeignChanges(writer)
	p.KeepCounters(writer)
	measured := metrics.New(metrics.Options{Version: version, Revision: revision(), Sets: proxy.SetNames()})
	p.CleanFlows(conntrack.New(conntrack.Options{
		Log: a.log.WithName("conntrack"), OnDeleted: func(n int) { measured.ConntrackDeleted(n) },
	}))
	scraper, err := exportConnections(start.now().Proxy.Table, measured)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scraper.Close()) }()
	start.metrics = measured
	a.config.For(config.Agent{Apply: start.apply, Tell: start.tell})
	servers := a.instrument(p, measured, start)
	allowGarbage(garbageOfLoad)
	p.WhenComplete(func() {
		allowGarbage(garbage)
		debug.FreeOSMemory() // the first load needs more than what follows
	})
	p.WhenComplete(start.complete) // sysctls exist once a table uses conntrack
	return runAll(ctx, p.Run, servers.Run, a.reporter(p))
}

// instrument connects the proxy with its metrics, health and events.
func (a *agent) instrument(p *proxy.Proxy, measured *metrics.Metrics, c *configurer) *health.Servers {
	state := health.NewState(health.DefaultTimeout)
	servers := health.New(health.Options{
		State: state, HealthzAddress: a.serve.healthz, MetricsAddress: a.serve.metrics, BindHardFail: a.serve.hardFail,
		Metrics:   measured.Handler(func(err error) { a.log.Error(err, "collect metrics") }),
		Configz:   func() any { return c.now() },
		Handlers:  a.handlers(p),
		Profiling: a.serve.profiling, Probes: measured, BindFailed: p.BindFailed, Log: a.log.WithName("health"),
	})
	p.Instrument(proxy.Instruments{Metrics: measured, Health: state, Ports: servers, Events: a.events})
	return servers
}

// reporter writes the node's ProxyNode; without a cluster it waits for the end.
func (a *agent) reporter(p *proxy.Proxy) func(context.Context) error {
	if a.api == nil {
		return func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}
	}
	return fleet.New(fleet.Options{
		Client: a.api, Version: version, Kernel: kernel.Release(), Interval: a.serve.reportInterval,
		Status: p.Status, Config: a.config.Report, Node: a.config.Node, Log: a.log.WithName("fleet"),
	}).Run
}

// runAll runs all until the context or one of them ends, and waits for them.
func runAll(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(all))
	for _, run := range all {
		go func() { ended <- run(ctx) }()
	}
	var errs []error
	for range all {
		errs = append(errs, <-ended)
		cancel()
	}
	return errors.Join(errs...)
}
