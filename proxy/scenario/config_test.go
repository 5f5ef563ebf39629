package scenario

import (
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// config is the section of that name. What it leaves out is as in defaultConfig.
type config struct {
	Proxies []string `json:"proxies"` // nodes that run a proxy

	Families               []string              `json:"families"` // IPv4, IPv6
	DetectLocalMode        proxy.DetectLocalMode `json:"detectLocalMode"`
	ClusterCIDR            []string              `json:"clusterCIDR"`
	PodBridgeInterface     string                `json:"podBridgeInterface"`
	PodInterfaceNamePrefix string                `json:"podInterfaceNamePrefix"`
	MasqueradeAll          bool                  `json:"masqueradeAll"`
	MasqueradeBit          uint                  `json:"masqueradeBit"`
	NodePortAddresses      []string              `json:"nodePortAddresses"` // "primary", or prefixes
	ExternalIPs            []string              `json:"externalIPs"`       // "all", "none", or prefixes
	ServiceProxyName       string                `json:"serviceProxyName"`
	Counters               ruleset.Counters      `json:"counters"` // off, services or endpoints
}

func defaultConfig() config {
	return config{
		Proxies:           []string{"node-a"},
		Families:          []string{"IPv4", "IPv6"},
		DetectLocalMode:   proxy.DetectClusterCIDR,
		ClusterCIDR:       []string{"10.244.0.0/16", "fd00:10:244::/48"},
		MasqueradeBit:     14,
		NodePortAddresses: []string{"primary"},
		ExternalIPs:       []string{"all"},
		Counters:          ruleset.DefaultCounters,
	}
}

// parse takes over what the YAML says.
func (c *config) parse(data []byte) error {
	// A list replaces the default one.
	if err := yaml.UnmarshalStrict(data, c); err != nil {
		return err
	}
	if len(c.Proxies) == 0 {
		return fmt.Errorf("proxies: there must be one, to be tested")
	}
	for _, f := range c.Families {
		if f != "IPv4" && f != "IPv6" {
			return fmt.Errorf("families: %q is unknown: use IPv4 or IPv6", f)
		}
	}
	if _, err := ruleset.ParseExternalIPs(c.ExternalIPs); err != nil {
		return fmt.Errorf("externalIPs: %w", err)
	}
	return nil
}

// proxy is the configuration of the proxy on a node.
func (c *config) proxy(node string) proxy.Config {
	p := proxy.DefaultConfig()
	p.NodeName = node
	p.IPv4, p.IPv6 = slices.Contains(c.Families, "IPv4"), slices.Contains(c.Families, "IPv6")
	p.DetectLocal = c.DetectLocalMode
	p.MasqueradeAll = c.MasqueradeAll
	p.Counters = c.Counters
	p.MasqueradeMark = 1 << c.MasqueradeBit
	p.Coalesce = 0
	switch c.DetectLocalMode {
	case proxy.DetectClusterCIDR:
		p.ClusterCIDRs = testnet.Prefixes(c.ClusterCIDR...)
	case proxy.DetectBridgeInterface:
		p.PodInterface = c.PodBridgeInterface
	case proxy.DetectInterfaceNamePrefix:
		p.PodInterface = c.PodInterfaceNamePrefix
	}
	p.ExternalIPs, _ = ruleset.ParseExternalIPs(c.ExternalIPs) // parse has tried it
	p.NodePortAddresses = proxy.NodePortAddresses{}
	for _, a := range c.NodePortAddresses {
		if a == "primary" {
			p.NodePortAddresses.Primary = true
		} else {
			p.NodePortAddresses.CIDRs = append(p.NodePortAddresses.CIDRs, netip.MustParsePrefix(a))
		}
	}
	return p
}
