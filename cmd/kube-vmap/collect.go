package main

import (
	"context"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/hostaddrs"
	"github.com/kube-vmap/kube-vmap/proxy/source/kubernetes"
	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
)

// otherObjects are objects to compare the table with instead of the agent's.
type otherObjects struct {
	proxy   proxyFlags
	objects objectFlags
}

// register registers the flags. Those that only repeat how the agent is configured
// work and are not listed.
func (o *otherObjects) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	o.proxy.register(fs)
	o.objects.register(fs)
	for _, name := range []string{
		"detect-local-mode", "cluster-cidr", "pod-bridge-interface", "pod-interface-name-prefix", "masquerade-all",
		"masquerade-bit", "external-ips", "table-ownership", "coalesce", "counters", "repair", "repair-delay",
		"affinity-size", "server", "service-proxy-name",
	} {
		if fs.Lookup(name) != nil {
			cobra.CheckErr(fs.MarkHidden(name))
		}
	}
	for name, usage := range map[string]string{
		"manifests":  "directory of manifests to take the objects from, instead of the agent",
		"kubeconfig": "file that leads to the cluster to take the objects from, instead of the agent",
	} {
		fs.Lookup(name).Usage = usage
	}
}

// given reports whether the agent is not to be asked.
func (o *otherObjects) given() bool { return o.objects.manifests != "" || o.objects.kubeconfig != "" }

// read reads all objects once.
func (o *otherObjects) read(ctx context.Context) (proxy.Config, model.Update, error) {
	config, err := o.proxy.config()
	if err != nil {
		return config, model.Update{}, err
	}
	objects, err := o.source(config.NodeName)
	if err != nil {
		return config, model.Update{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	update, err := proxy.Collect(ctx, objects, hostaddrs.New(hostaddrs.Options{Log: logr.Discard()}))
	return config, update, err
}

func (o *otherObjects) source(node string) (source.Source, error) {
	if o.objects.manifests != "" {
		return manifests.New(o.objects.manifests, manifests.Options{
			NodeName: node, ServiceProxyName: o.objects.serviceProxyName, Log: logr.Discard(),
		}), nil
	}
	cluster, err := o.objects.clusterConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.New(cluster, kubernetes.Options{
		NodeName: node, ServiceProxyName: o.objects.serviceProxyName, Log: logr.Discard(),
	})
}
