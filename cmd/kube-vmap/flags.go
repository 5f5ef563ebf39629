package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// proxyFlags are the flags that make a proxy.Config.
type proxyFlags struct {
	nodeName          string
	detectLocal       string
	clusterCIDRs      []string
	bridge, prefix    string
	masqueradeAll     bool
	masqueradeBit     uint8
	nodePortAddresses []string
	externalIPs       []string
	coalesce          time.Duration
	counters          string
	ownership         string
}

func (f *proxyFlags) register(fs *pflag.FlagSet) {
	d := proxy.DefaultConfig()
	fs.StringVar(&f.nodeName, "node-name", "", "name of this node (default: $NODE_NAME, else the host name in lower case)")
	fs.StringVar(&f.detectLocal, "detect-local-mode", string(d.DetectLocal),
		"how this node's pods are told from outside: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	fs.StringSliceVar(&f.clusterCIDRs, "cluster-cidr", nil, "pod prefixes of the cluster, for ClusterCIDR")
	fs.StringVar(&f.bridge, "pod-bridge-interface", "", "bridge of the pods, for BridgeInterface")
	fs.StringVar(&f.prefix, "pod-interface-name-prefix", "", "how names of the pods' interfaces begin, for InterfaceNamePrefix")
	fs.BoolVar(&f.masqueradeAll, "masquerade-all", false, "masquerade all traffic to cluster IPs")
	fs.Uint8Var(&f.masqueradeBit, "masquerade-bit", 14, "bit of the packet mark that means masquerade, 0 to 31")
	fs.StringSliceVar(&f.nodePortAddresses, "nodeport-addresses", []string{"primary"},
		`addresses of this node that accept node ports: "primary" (the node's InternalIPs), or prefixes`)
	fs.StringSliceVar(&f.externalIPs, "external-ips", []string{"all"},
		`addresses in spec.externalIPs of Services that are served: "all", "none", or prefixes`)
	fs.StringVar(&f.counters, "counters", d.Counters.String(),
		"what new connections are counted by: off, services, or endpoints, which includes services")
	fs.StringVar(&f.ownership, "table-ownership", "auto",
		"keep other processes from changing the table: auto (where the kernel can, from 6.9), on or off")
	fs.DurationVar(&f.coalesce, "coalesce", d.Coalesce, "how long changes are collected after a transaction, 0 to 1s")
}

// ownership are the values of --table-ownership.
var ownership = map[string]v1alpha1.TableOwnership{
	"auto": v1alpha1.OwnershipAuto, "on": v1alpha1.OwnershipRequired, "off": v1alpha1.OwnershipDisabled,
}

// running is the configuration by these flags and those of the sysctls, the log and
// the objects.
func (f *proxyFlags) running(sysctls *sysctlFlags, log *logFlags, objects *objectFlags) (config.Running, error) {
	c, err := f.config()
	if err != nil {
		return config.Running{}, err
	}
	owned, known := ownership[f.ownership]
	if !known {
		err = fmt.Errorf("--table-ownership=%s: must be auto, on or off", f.ownership)
	}
	return config.Running{
		Proxy: c, Ownership: owned, Sysctls: sysctls.Sysctls,
		ServiceProxyName: objects.serviceProxyName, Verbosity: log.verbosity,
	}, err
}

// config validates the flags.
func (f *proxyFlags) config() (proxy.Config, error) {
	c := proxy.DefaultConfig()
	c.IPv6 = hasIPv6()
	c.MasqueradeAll = f.masqueradeAll
	c.Coalesce = f.coalesce
	if f.coalesce < 0 || f.coalesce > time.Second {
		return c, fmt.Errorf("--coalesce=%s: must be from 0 to 1s", f.coalesce)
	}
	if f.masqueradeBit > 31 {
		return c, fmt.Errorf("--masquerade-bit=%d: must be from 0 to 31", f.masqueradeBit)
	}
	c.MasqueradeMark = 1 << f.masqueradeBit
	if err := c.Counters.UnmarshalText([]byte(f.counters)); err != nil {
		return c, fmt.Errorf("--counters=%s: must be off, services or endpoints", f.counters)
	}
	var err error
	if c.NodeName, err = f.node(); err != nil {
		return c, err
	}
	if err := f.detect(&c); err != nil {
		return c, err
	}
	if c.ExternalIPs, err = ruleset.ParseExternalIPs(f.externalIPs); err != nil {
		return c, fmt.Errorf("--external-ips: %w", err)
	}
	c.NodePortAddresses, err = f.nodePorts()
	return c, err
}

func (f *proxyFlags) node() (string, error) {
	if f.nodeName != "" {
		return f.nodeName, nil
	}
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find the node's name: %w; set --node-name", err)
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}

func (f *proxyFlags) detect(c *proxy.Config) (err error) {
	c.DetectLocal = proxy.DetectLocalMode(f.detectLocal)
	switch c.DetectLocal {
	case proxy.DetectClusterCIDR:
		c.ClusterCIDRs, err = parsePrefixes("--cluster-cidr", f.clusterCIDRs)
	case proxy.DetectNodeCIDR:
	case proxy.DetectBridgeInterface:
		c.PodInterface = f.bridge
		if f.bridge == "" {
			err = fmt.Errorf("--detect-local-mode=%s needs --pod-bridge-interface", f.detectLocal)
		}
	case proxy.DetectInterfaceNamePrefix:
		c.PodInterface = f.prefix
		if f.prefix == "" {
			err = fmt.Errorf("--detect-local-mode=%s needs --pod-interface-name-prefix", f.detectLocal)
		}
	default:
		err = fmt.Errorf("--detect-local-mode=%s: must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix", f.detectLocal)
	}
	return err
}

func (f *proxyFlags) nodePorts() (proxy.NodePortAddresses, error) {
	if len(f.nodePortAddresses) == 1 && f.nodePortAddresses[0] == "primary" {
		return proxy.NodePortAddresses{Primary: true}, nil
	}
	cidrs, err := parsePrefixes("--nodeport-addresses", f.nodePortAddresses)
	return proxy.NodePortAddresses{CIDRs: cidrs}, err
}

func parsePrefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no prefix such as 10.244.0.0/16 or fd00:10:244::/56", flag, text)
		}
		ps = append(ps, p.Masked())
	}
	return ps, nil
}

// hasIPv6 reports whether the kernel speaks IPv6.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// addOutput registers -o.
func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "table", "output format: table or json")
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("-o %s: must be table or json", output)
	}
	return nil
}
