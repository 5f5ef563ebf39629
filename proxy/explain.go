package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Objects asks the loop for the objects about a frontend, as it knows them.
func (p *Proxy) Objects(ctx context.Context, k model.FrontendKey) (explain.Objects, error) {
	var o explain.Objects
	err := p.ask(ctx, func() {
		o = objectsOf(p.cluster, &p.locality, p.tracker.Options(), k)
		for i := range o.Claims {
			name, _, _ := strings.Cut(o.Claims[i].ServicePort, ":")
			for aside, err := range p.quarantine.aside {
				if aside.String() == name {
					o.Claims[i].Quarantine = err.Error()
				}
			}
		}
	})
	return o, err
}

// ObjectsOf finds the objects about a frontend in an update that holds all objects.
func ObjectsOf(config Config, u model.Update, k model.FrontendKey) explain.Objects {
	c := newCluster()
	c.apply(&u)
	opts, locality := config.options(c), config.locality(c)
	return objectsOf(c, &locality, &opts, k)
}

func objectsOf(c *cluster, loc *ruleset.Locality, opts *ruleset.Options, k model.FrontendKey) explain.Objects {
	o := explain.Objects{Node: loc.Node, Zone: loc.Zone, Claims: []explain.Claim{}}
	var owners []*model.Service
	claims := map[*model.Service]explain.Claim{}
	for _, svc := range c.services {
		if !concerns(svc, k) {
			continue
		}
		desired := ruleset.Desire(svc, c.byService[svc.Name], loc, opts)
		i := slices.IndexFunc(desired.Frontends, func(f ruleset.Frontend) bool { return f.Key == k })
		if i >= 0 {
			owners = append(owners, svc)
			claims[svc] = claimOf(svc, &desired.Frontends[i], c.byService[svc.Name], loc)
			continue
		}
		for j := range desired.Frontends {
			if f := &desired.Frontends[j]; f.Key.Addr == k.Addr {
				o.Ports = append(o.Ports, fmt.Sprintf("%d/%s (%s)", f.Key.Port, f.Key.Protocol, f.Name))
			}
		}
		if why := unserved(svc, k, loc); why != "" {
			o.Unserved = why
		}
	}
	slices.Sort(o.Ports)
	slices.SortFunc(owners, func(a, b *model.Service) int {
		if a.Older(b) {
			return -1
		}
		return 1
	})
	for _, svc := range owners {
		o.Claims = append(o.Claims, claims[svc])
	}
	return o
}

// concerns reports whether a Service has the address, or the node port.
func concerns(svc *model.Service, k model.FrontendKey) bool {
	return slices.Contains(svc.ClusterIPs, k.Addr) || slices.Contains(svc.ExternalIPs, k.Addr) ||
		slices.Contains(svc.LoadBalancerIPs, k.Addr) ||
		slices.ContainsFunc(svc.Ports, func(p model.ServicePort) bool { return p.NodePort == k.Port && p.Protocol == k.Protocol })
}

func claimOf(svc *model.Service, f *ruleset.Frontend, list []*model.EndpointSlice, loc *ruleset.Locality) explain.Claim {
	c := explain.Claim{
		ServicePort: f.Name.String(), Kind: explain.KindOf(f), Blocked: f.Blocked.String(),
		Backends: f.Backends, Local: f.Local, Endpoints: []explain.Endpoint{},
	}
	at := slices.IndexFunc(svc.Ports, func(p model.ServicePort) bool { return svc.PortName(&p) == f.Name })
	for _, u := range ruleset.Uses(&svc.Ports[at], list, loc, f.Key.Addr) {
		c.Endpoints = append(c.Endpoints, explain.Endpoint{
			Address: u.Backend, Node: u.Endpoint.Node, State: ruleset.StateText(u.Endpoint.State),
			Ready:   u.Endpoint.State.Has(model.Ready),
			Cluster: u.Cluster, WhyCluster: u.WhyCluster, Local: u.Local, WhyLocal: u.WhyLocal,
		})
	}
	return c
}

// unserved says why this node does not serve an address that a Service has, "" if
// nothing but the port is wrong.
func unserved(svc *model.Service, k model.FrontendKey, loc *ruleset.Locality) string {
	nodePort := slices.ContainsFunc(svc.Ports, func(p model.ServicePort) bool { return p.NodePort == k.Port && p.Protocol == k.Protocol })
	switch {
	case slices.Contains(svc.ExternalIPs, k.Addr) && !loc.ExternalIPs.Allow(k.Addr):
		return fmt.Sprintf("%s is an external IP of %s, and the configuration serves only these: %s", k.Addr, svc.Name, loc.ExternalIPs)
	case nodePort && !slices.Contains(loc.NodePortAddrs, k.Addr):
		return fmt.Sprintf("%d/%s is a node port of %s, and %s is not an address of this node that accepts node ports: %s",
			k.Port, k.Protocol, svc.Name, k.Addr, addressesText(loc.NodePortAddrs))
	}
	return ""
}

func addressesText(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none does"
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return "these do: " + strings.Join(texts, ", ")
}

// ReadKernel reads what the kernel has about a query.
func ReadKernel(table string, dp Dataplane, q explain.Query, hostAddrs []netip.Addr) (explain.Kernel, error) {
	k := explain.Kernel{Table: table, HostAddrs: hostAddrs}
	t, err := readTable(table, dp, nil)
	if err != nil || t == nil {
		return k, err
	}
	have := t.Kernel()
	k.Exists = true
	k.Hooked = slices.ContainsFunc(have.Chains, func(c *nft.Chain) bool { return c.Base != nil })
	if f, ok := t.Frontend(q.To); ok {
		k.Frontend = &f
	}
	k.ClusterIP = t.HasClusterIP(q.To.Addr)
	for _, set := range have.Sets {
		prefixes := ruleset.Prefixes(set)
		switch strings.TrimRight(set.Name, "46") {
		case "service-cidrs":
			for _, p := range prefixes {
				if p.Contains(q.To.Addr) {
					k.ServiceCIDR = p
				}
			}
		case "pod-cidrs":
			k.PodCIDRs = append(k.PodCIDRs, prefixes...)
		}
	}
	k.Pods, k.Masquerades = readPods(have, q.To.Addr)
	if k.Frontend != nil && k.Frontend.Affinity > 0 && q.From.IsValid() {
		k.Binding, err = readBinding(table, dp, have, q)
	}
	return k, err
}

// readPods tells from the table's rules how pods are told and what is masqueraded.
func readPods(table *nft.Table, addr netip.Addr) (pods explain.PodDetection, m explain.Masquerading) {
	clusterIPs, external := "ip6 daddr @cluster-ips6 jump ", "external-local6"
	if addr.Is4() {
		clusterIPs, external = "ip daddr @cluster-ips4 jump ", "external-local4"
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			text := r.String()
			switch {
			case c.Name == "services" && strings.HasPrefix(text, clusterIPs):
				m = explain.MasqueradesAll
			case c.Name == "services" && strings.Contains(text, clusterIPs):
				m = explain.MasqueradesOutside
			case c.Name == external && strings.HasPrefix(text, "iifname"):
				pods = explain.PodsByInterface
			case c.Name == external && strings.Contains(text, "@pod-cidrs"):
				pods = explain.PodsByAddress
			}
		}
	}
	return pods, m
}

// readBinding finds the backend that session affinity leads a client to.
func readBinding(table string, dp Dataplane, have *nft.Table, q explain.Query) (bound model.Backend, err error) {
	for _, set := range have.Sets {
		if !set.Dynamic {
			continue
		}
		_, err := dp.ReadSet(table, set, func(e *nft.Element) error {
			k, backend := ruleset.BindingOf(set, e)
			if k == q.To && e.Key.AddrAt(0, q.From.Is4()) == q.From {
				bound = backend
			}
			return nil
		})
		if err != nil {
			return bound, err
		}
	}
	return bound, nil
}
