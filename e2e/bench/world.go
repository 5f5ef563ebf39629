package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// podCIDRs are the prefixes of all pods of the cluster.
const podCIDRs = "10.244.0.0/16,fd00:10:244::/48"

// serviceCIDR is where ClusterIPs are.
var serviceCIDR = netip.MustParsePrefix("10.96.0.0/16")

// World is a control plane, a node for each agent with a pod that asks, or one
// node for both, and a host that answers for all endpoints:
//
//	kube-vmap   192.0.2.10   pod 10.244.0.11, more sources in 10.244.64.0/18
//	kube-proxy  192.0.2.20   pod 10.244.1.11, more sources in 10.244.128.0/18
//	farm        192.0.2.50   all of 10.128.0.0/9
//	API server  192.0.2.5
type World struct {
	homes        []AgentKind // the nodes, by the agent that each is named after
	lab          *testnet.Lab
	controlPlane *controlplane.ControlPlane
	client       kubernetes.Interface
	kubeconfig   string
	dir, logs    string
}

var nodeAddrs = map[AgentKind]netip.Prefix{
	KubeVmap:  netip.MustParsePrefix("192.0.2.10/24"),
	KubeProxy: netip.MustParsePrefix("192.0.2.20/24"),
}

var (
	farmAddr = netip.MustParsePrefix("192.0.2.50/24")
	apiAddr  = netip.MustParsePrefix("192.0.2.5/24")
)

// nodePodCIDR is the prefix of a node's pods.
func nodePodCIDR(k AgentKind) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(k), 0}), 24)
}

// podAddr is the address of the pod that asks.
func podAddr(k AgentKind) netip.Addr { return netip.AddrFrom4([4]byte{10, 244, byte(k), 11}) }

// sourcePrefix holds more addresses of that pod.
func sourcePrefix(k AgentKind) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, 64 * (byte(k) + 1), 0}), 18)
}

// startWorld builds it, with these nodes. On an error nothing is left.
func startWorld(ctx context.Context, logs string, homes []AgentKind) (*World, error) {
	w := &World{logs: logs, homes: homes}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start world: %w", err), w.Close())
	}
	return w, nil
}

func (w *World) start(ctx context.Context) (err error) {
	if w.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.MkdirAll(w.logs, 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	if w.lab, err = testnet.Build(w.topology()); err != nil {
		return err
	}
	if err := w.wire(); err != nil {
		return err
	}
	w.controlPlane, err = controlplane.Start(ctx, controlplane.Options{
		Address: apiAddr.Addr(), Namespace: w.lab.Host("api").FD(), LogDir: w.logs,
		ServiceCIDRs: []netip.Prefix{serviceCIDR},
	})
	if err != nil {
		return err
	}
	if err := holdControllers(); err != nil {
		return err
	}
	w.kubeconfig = filepath.Join(w.dir, "admin.conf")
	if err := w.controlPlane.Kubeconfig(w.kubeconfig); err != nil {
		return err
	}
	config := w.controlPlane.RESTConfig()
	config.ContentType = runtime.ContentTypeProtobuf
	if w.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return w.addNodes(ctx)
}

func (w *World) topology() testnet.Topology {
	t := testnet.Topology{
		Gateways: testnet.Prefixes("192.0.2.1/24"),
		Clients: []testnet.Client{
			{Name: "farm", Addrs: []netip.Prefix{farmAddr}},
			{Name: "api", Addrs: []netip.Prefix{apiAddr}},
		},
	}
	for _, k := range w.homes {
		t.Nodes = append(t.Nodes, testnet.Node{
			Name: k.String(), Addrs: []netip.Prefix{nodeAddrs[k]}, PodCIDRs: []netip.Prefix{nodePodCIDR(k)},
			Pods: []testnet.Pod{{Name: podName(k), Addrs: []netip.Addr{podAddr(k)}}},
		})
	}
	return t
}

func podName(k AgentKind) string { return "pod of " + k.String() }

// wire starts the farm, and the routes between it and the pods.
func (w *World) wire() error {
	farm := w.lab.Host("farm")
	if err := serveFarm(farm); err != nil {
		return err
	}
	for _, k := range w.homes {
		err := errors.Join(
			w.node(k).Route(farmPrefix, farmAddr.Addr()),
			farm.Route(nodePodCIDR(k), nodeAddrs[k].Addr()))
		if err != nil {
			return err
		}
	}
	for _, k := range kinds {
		sources, home := sourcePrefix(k), w.home(k)
		_, err := w.pod(k).Run("ip", "route", "add", "local", sources.String(), "dev", "lo")
		err = errors.Join(err,
			w.node(k).Route(sources, podAddr(home)),
			farm.Route(sources, nodeAddrs[home].Addr()))
		if err != nil {
			return err
		}
	}
	return nil
}

// home is the node that an agent runs on: its own, or the only one.
func (w *World) home(k AgentKind) AgentKind {
	if slices.Contains(w.homes, k) {
		return k
	}
	return w.homes[0]
}

func (w *World) node(k AgentKind) *testnet.Host { return w.lab.Host(w.home(k).String()) }
func (w *World) pod(k AgentKind) *testnet.Host  { return w.lab.Host(podName(w.home(k))) }

func (w *World) addNodes(ctx context.Context) error {
	for _, k := range kinds {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: k.String()},
			Spec:       corev1.NodeSpec{PodCIDR: nodePodCIDR(k).String(), PodCIDRs: []string{nodePodCIDR(k).String()}},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: nodeAddrs[k].Addr().String()},
			}},
		}
		if _, err := w.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create node %s: %w", k, err)
		}
	}
	return nil
}

// Close ends all processes. It may be called again.
func (w *World) Close() error {
	var errs []error
	if w.controlPlane != nil {
		errs = append(errs, w.controlPlane.Stop())
	}
	if w.lab != nil {
		errs = append(errs, w.lab.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}
