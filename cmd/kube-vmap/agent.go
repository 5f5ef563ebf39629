package main

import (
	"context"
	"errors"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
)

// agent is a proxy with everything that works beside it.
type agent struct {
	config  proxy.Config
	flags   *proxyFlags
	sysctls conntrack.Sysctls
	objects source.Source
	log     logr.Logger
}

// run connects to the kernel and works until the context ends.
func (a *agent) run(ctx context.Context) (err error) {
	writer, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return err
	}
	reader, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return errors.Join(err, writer.Close())
	}
	defer func() { err = errors.Join(err, reader.Close(), writer.Close()) }()
	if a.config.Own, err = a.flags.own(writer); err != nil {
		return err
	}
	p := proxy.New(a.config, writer, a.log, a.objects, hostaddrs.New(hostaddrs.Options{Log: a.log.WithName("hostaddrs")}))
	p.EnforceBindings(reader)
	p.RepairForeignChanges(writer)
	p.CleanFlows(conntrack.New(conntrack.Options{Log: a.log.WithName("conntrack")}))
	p.WhenComplete(a.applySysctls) // they exist once a table uses conntrack
	return p.Run(ctx)
}

func (a *agent) applySysctls() {
	for _, warning := range a.sysctls.Apply("/proc/sys") {
		a.log.Info("sysctl not set", "reason", warning.Error())
	}
}
