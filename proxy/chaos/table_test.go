package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy"
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

// difference lists what the kernel's table must still get to equal the wanted
// one. They may differ in the slot of a backend, in the class of a frontend, and
// by chains that were needed once.
func difference(have, want *nft.Table) []string {
	if have == nil {
		return []string{"there is no table"}
	}
	h, w := *have, *want
	h.Chains = withoutUnneeded(have, want)
	w.Chains = withoutUnneeded(want, have)
	h.Sets = nil
	var lines []string
	for _, set := range have.Sets {
		like := want.Set(set.Name)
		if like == nil {
			h.Sets = append(h.Sets, set)
			continue
		}
		alike, problems := aligned(set, like)
		h.Sets = append(h.Sets, alike)
		lines = append(lines, problems...)
	}
	return append(lines, nft.Diff(&h, &w).Lines()...)
}

// withoutUnneeded are a table's chains without those made on demand that the
// other table does not have.
func withoutUnneeded(t, other *nft.Table) []*nft.Chain {
	return slices.DeleteFunc(slices.Clone(t.Chains), func(c *nft.Chain) bool {
		_, numbered := cutClass(c.Name)
		onDemand := numbered || strings.HasPrefix(c.Name, "learn-")
		return onDemand && other.Chain(c.Name) == nil
	})
}

// cutClass is "lb4" of "lb4-8"; ok is false if no number ends the name.
func cutClass(chain string) (kind string, ok bool) {
	at := strings.LastIndexByte(chain, '-')
	if at < 0 {
		return chain, false
	}
	_, err := strconv.ParseUint(chain[at+1:], 10, 32)
	return chain[:at], err == nil
}

func isSlots(set string) bool { return strings.Contains(set, "backends") }

func isBalanced(set string) bool {
	return strings.HasPrefix(set, "services") || strings.HasPrefix(set, "local-services")
}

// aligned is the kernel's set with slots and classes as in the wanted one, where
// only those differ, and the problems found on the way.
func aligned(have, want *nft.Set) (*nft.Set, []string) {
	s := *have
	switch {
	case isSlots(have.Name):
		a, b := backends(have), backends(want)
		s.Elements = want.Elements
		return &s, compareBackends(have.Name, a, b)
	case isBalanced(have.Name):
		s.Elements = slices.Clone(have.Elements)
		like := map[string]nft.Verdict{}
		for i := range want.Elements {
			like[string(want.Elements[i].Key.Bytes())] = want.Elements[i].Verdict
		}
		for i := range s.Elements {
			e := &s.Elements[i]
			v := like[string(e.Key.Bytes())]
			kind, ok := cutClass(e.Verdict.Chain)
			if wantKind, wantOK := cutClass(v.Chain); ok && wantOK && kind == wantKind {
				e.Verdict = v
			}
		}
	}
	return &s, nil
}

// backends are a map's backends, without the slots, by frontend.
func backends(s *nft.Set) map[string][]string {
	all := map[string][]string{}
	for i := range s.Elements {
		e := &s.Elements[i]
		key := string(e.Key.Bytes()[:e.Key.Len()-4]) // the slot is the last field
		all[key] = append(all[key], e.Data.Text(s.Data))
	}
	for _, bs := range all {
		slices.Sort(bs)
	}
	return all
}

func compareBackends(set string, have, want map[string][]string) []string {
	var lines []string
	for key, w := range want {
		if h := have[key]; !slices.Equal(h, w) {
			lines = append(lines, fmt.Sprintf("%s: frontend %x has the backends %v, want %v", set, key, h, w))
		}
	}
	for key, h := range have {
		if want[key] == nil {
			lines = append(lines, fmt.Sprintf("%s: frontend %x has the backends %v, want none", set, key, h))
		}
	}
	return lines
}

// hidden reports what stands between the clients and the services that they
// connect to, while endpoints of these and all other services are changing: "" if
// nothing does.
func hidden(have, want *nft.Table) string {
	if have == nil {
		return "there is no table"
	}
	h, w := *have, *want
	h.Chains, w.Chains = withoutUnneeded(have, want), withoutUnneeded(want, have)
	h.Sets, w.Sets = nil, nil
	for _, set := range want.Sets {
		like := have.Set(set.Name)
		if like == nil || !like.SameDefinition(set) {
			return "set " + set.Name + " is missing or another"
		}
		if problem := hiddenIn(like, set); problem != "" {
			return problem
		}
	}
	if d := nft.Diff(&h, &w); !d.IsEmpty() {
		return d.Lines()[0]
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
	alike := have
	if !isSlots(have.Name) {
		alike, _ = aligned(have, want)
	}
	a, b := targets(alike), targets(want)
	for key, e := range b {
		switch g := a[key]; {
		case g == nil:
			return fmt.Sprintf("%s lacks { %s }", have.Name, e.Text(want))
		case !isSlots(have.Name) && !g.SameContent(e):
			return fmt.Sprintf("%s has { %s }", have.Name, g.Text(have))
		}
	}
	for key, e := range a {
		if b[key] == nil && !isSlots(have.Name) {
			return fmt.Sprintf("%s has { %s }", have.Name, e.Text(have))
		}
	}
	return strange(have)
}

// targets are the elements of a set that concern the services with traffic, with
// those of a map of slots at slot 0 only.
func targets(s *nft.Set) map[string]*nft.Element {
	found := map[string]*nft.Element{}
	for i := range s.Elements {
		e := &s.Elements[i]
		if isTarget(s, e) && (!isSlots(s.Name) || e.Key.MarkAt(e.Key.Len()-4) == 0) {
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
	if !isSlots(s.Name) {
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
