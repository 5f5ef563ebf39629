package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
	"github.com/kube-vmap/kube-vmap/proxy/source/manifests"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

const tableName = "kube-vmap"

// config is how the agent runs on the node.
func config(own bool) proxy.Config {
	c := proxy.DefaultConfig()
	c.NodeName, c.DetectLocal, c.Own = "node-a", proxy.DetectNodeCIDR, own
	c.NodePortAddresses = proxy.NodePortAddresses{CIDRs: testnet.Prefixes("192.0.2.0/24", "2001:db8:2::/64")}
	return c
}

// wanted computes the table from nothing. What is wrong with manifests is no
// error here: the agent meets the same.
func wanted(c proxy.Config, dir string, hostAddrs []netip.Addr) (*nft.Table, error) {
	update, err := manifests.Load(dir, manifests.Options{NodeName: c.NodeName, Log: logr.Discard()})
	var bad *manifests.Error
	if err != nil && !errors.As(err, &bad) {
		return nil, err
	}
	update.HostAddrs = &hostAddrs
	return proxy.Render(c, update), nil
}

// difference lists what the kernel's table must still get to equal the wanted one.
// One whose owner is gone is as good.
func difference(have, want *nft.Table) []string {
	w := *want
	if have != nil && have.Persist && !have.Owned {
		w.Owned = false
	}
	return rulesettest.Compare(have, &w)
}

// hidden reports what stands between the clients and the services that they
// connect to, while endpoints of these and all other services are changing: "" if
// nothing does.
func hidden(have, want *nft.Table) string {
	if have == nil {
		return "there is no table"
	}
	if have.Dormant {
		return "the table is dormant"
	}
	for _, set := range want.Sets {
		like := have.Set(set.Name)
		if like == nil || !like.SameDefinition(set) {
			return "set " + set.Name + " is missing or another"
		}
		if problem := hiddenIn(like, set); problem != "" {
			return problem
		}
	}
	if lines := rulesettest.CompareChains(have, want); len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// hiddenIn is hidden for one set.
func hiddenIn(have, want *nft.Set) string {
	switch {
	case have.Dynamic:
		return ""
	case strings.HasPrefix(have.Name, "service-cidrs"), strings.HasPrefix(have.Name, "pod-cidrs"):
		a, b := nft.Table{Sets: []*nft.Set{have}}, nft.Table{Sets: []*nft.Set{want}}
		if d := nft.Diff(&a, &b); !d.IsEmpty() {
			return d.Lines()[0]
		}
		return ""
	}
	a, b := targets(have), targets(want)
	for key, e := range b {
		switch g := a[key]; {
		case g == nil:
			return fmt.Sprintf("%s lacks { %s }", have.Name, e.Text(want))
		case !rulesettest.HoldsSlots(have.Name) && !sameButClass(g, e):
			return fmt.Sprintf("%s has { %s }", have.Name, g.Text(have))
		}
	}
	for key, e := range a {
		if b[key] == nil && !rulesettest.HoldsSlots(have.Name) {
			return fmt.Sprintf("%s has { %s }", have.Name, e.Text(have))
		}
	}
	return strange(have)
}

// sameButClass reports whether elements are the same but for the class to which
// their verdicts lead.
func sameButClass(a, b *nft.Element) bool {
	like := *a
	kind, _, _ := rulesettest.CutClass(a.Verdict.Chain)
	if wanted, _, ok := rulesettest.CutClass(b.Verdict.Chain); ok && kind == wanted {
		like.Verdict = b.Verdict
	}
	return like.SameContent(b)
}

// targets are the elements of a set that concern the services with traffic, with
// those of a map of slots at slot 0 only.
func targets(s *nft.Set) map[string]*nft.Element {
	found := map[string]*nft.Element{}
	for i := range s.Elements {
		e := &s.Elements[i]
		if isTarget(s, e) && (!rulesettest.HoldsSlots(s.Name) || e.Key.MarkAt(e.Key.Len()-4) == 0) {
			found[string(e.Key.Bytes())] = e
		}
	}
	return found
}

// isTarget reports whether an element's key is an address of a service with
// traffic, or begins with one of its frontends. Other ports of the same address may
// be somebody else's.
func isTarget(s *nft.Set, e *nft.Element) bool {
	addr := e.Key.AddrAt(0, s.Key[0] == nft.IPv4Addr)
	if len(s.Key) < 3 {
		return slices.Contains(targetIPs, addr)
	}
	switch port := int(e.Key.PortAt(s.Key[0].Size() + 4)); port {
	case 80:
		return slices.Contains(targetIPs, addr)
	case webService.nodePortOf(0), webService.nodePortOf(1):
		return slices.Contains(nodeIPs, addr)
	}
	return false
}

var (
	webService    = &service{number: webNumber}
	stickyService = &service{number: stickyNumber}
	targetIPs     = testnet.Addrs(slices.Concat(webService.clusterIPs(), webService.vips(), stickyService.clusterIPs())...)
	nodeIPs       = testnet.Addrs("192.0.2.10", "2001:db8:2::10")
)

// strange reports a backend of a service with traffic that is none of its servers.
func strange(s *nft.Set) string {
	if !rulesettest.HoldsSlots(s.Name) {
		return ""
	}
	for i := range s.Elements {
		e := &s.Elements[i]
		if isTarget(s, e) && !isServer(e.Data.AddrAt(0, s.Data[0] == nft.IPv4Addr)) {
			return fmt.Sprintf("%s has { %s }", s.Name, e.Text(s))
		}
	}
	return ""
}

func isServer(a netip.Addr) bool {
	return slices.ContainsFunc(servers, func(e endpoint) bool { return e.host4 == a.String() || e.host6 == a.String() })
}
