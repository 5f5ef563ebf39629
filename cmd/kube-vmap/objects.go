package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/proxy/source/kubernetes"
	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
)

// objectFlags say where the objects come from: a directory, or a cluster.
type objectFlags struct {
	manifests        string
	kubeconfig       string
	server           string
	serviceProxyName string
}

func (f *objectFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.manifests, "manifests", "", "directory of manifests to serve instead of a cluster's objects")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "file that leads to the cluster (default: the pod's service account)")
	fs.StringVar(&f.server, "server", "",
		"address of the API server, instead of what --kubeconfig or the pod's environment says: it must not be the cluster IP of the Service kubernetes, which needs a proxy")
	fs.StringVar(&f.serviceProxyName, "service-proxy-name", "",
		"take the Services with this value of the label service.kubernetes.io/service-proxy-name (default: those without the label)")
}

// connect finds the source of objects for the agent, where its events go, and the
// objects that configure it.
func (f *objectFlags) connect(a *agent, follow *config.Options) error {
	if f.manifests != "" {
		if f.kubeconfig != "" || f.server != "" {
			return errors.New("--manifests and --kubeconfig or --server exclude each other")
		}
		a.objects = manifests.New(f.manifests, manifests.Options{
			NodeName: a.node, ServiceProxyName: f.serviceProxyName, Log: a.log.WithName("manifests"),
		})
		return nil
	}
	cluster, err := f.clusterConfig()
	if err != nil {
		return err
	}
	a.objects, err = kubernetes.New(cluster, kubernetes.Options{
		NodeName: a.node, ServiceProxyName: f.serviceProxyName, Log: a.log.WithName("kubernetes"),
	})
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if a.api, err = dynamic.NewForConfig(cluster); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	follow.Objects = config.Watch(a.api, a.log.WithName("config"))
	events := newRecorder(client, a.node)
	a.events, a.close = events, events.stop
	return nil
}

// clusterConfig finds the cluster: --kubeconfig, else the pod's service account.
func (f *objectFlags) clusterConfig() (*rest.Config, error) {
	var config *rest.Config
	var err error
	if f.kubeconfig == "" {
		config, err = rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("no objects to serve: this is no pod of a cluster; set --kubeconfig or --manifests")
		}
		if err == nil && f.server != "" {
			config.Host = f.server
		}
	} else {
		config, err = clientcmd.BuildConfigFromFlags(f.server, f.kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.UserAgent = "kube-vmap/" + version
	return config, nil
}
