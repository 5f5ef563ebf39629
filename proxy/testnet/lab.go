package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
)

// Lab is a laboratory: the outside switch and all that is attached to it. Its
// methods may be called from any goroutine.
type Lab struct {
	outside *Host
	bridge  int // index of the outside switch's bridge

	mu       sync.Mutex // guards what follows; hosts are made and closed rarely
	gateways []netip.Prefix
	hosts    map[string]*Host
	nodes    []*Host
	links    int // number of the next veth name
}

// TB is the part of testing.TB that ForTest needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// ForTest builds a laboratory that is closed when the test ends. A laboratory
// that can't be built fails the test.
func ForTest(t TB, topology Topology) *Lab {
	t.Helper()
	lab, err := Build(topology)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return lab
}

// Build makes a laboratory. On an error nothing is left.
func Build(topology Topology) (*Lab, error) {
	lab := &Lab{hosts: map[string]*Host{}, gateways: slices.Clone(topology.Gateways)}
	if err := lab.build(topology); err != nil {
		return nil, errors.Join(fmt.Errorf("build laboratory: %w", err), lab.Close())
	}
	return lab, nil
}

func (l *Lab) build(topology Topology) error {
	if err := l.buildOutside(); err != nil {
		return fmt.Errorf("outside switch: %w", err)
	}
	for _, n := range topology.Nodes {
		if _, err := l.AddNode(n); err != nil {
			return err
		}
	}
	for _, c := range topology.Clients {
		if _, err := l.AddClient(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) buildOutside() error {
	outside, err := newHost(l, "outside", router)
	if err != nil {
		return err
	}
	l.outside = outside
	l.hosts[outside.name] = outside
	l.bridge, err = outside.addBridge("br0")
	if err != nil {
		return err
	}
	for _, g := range l.gateways {
		if err := outside.addAddr(l.bridge, g); err != nil {
			return err
		}
		outside.addrs = append(outside.addrs, g.Addr())
	}
	return outside.SetSysctl("net/bridge/bridge-nf-call-iptables", "0")
}

// Host finds a node, pod, client or "outside" by name. It panics if there is
// none: a name is a literal, and a wrong one an error of the caller.
func (l *Lab) Host(name string) *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.hosts[name]; ok {
		return h
	}
	var names []string
	for n := range l.hosts {
		names = append(names, n)
	}
	slices.Sort(names)
	panic(fmt.Sprintf("testnet: no host %q; there are: %s", name, strings.Join(names, ", ")))
}

// Route makes the outside switch, and so every client and every node that has
// no better route, reach the prefix through a node: for service VIPs and
// external IPs. A route to the same prefix is replaced.
func (l *Lab) Route(prefix netip.Prefix, node *Host) error {
	via, ok := node.Addr(familyOf(prefix.Addr()))
	if !ok {
		return fmt.Errorf("route %s through %s: the node has no address of this family", prefix, node.name)
	}
	return l.outside.Route(prefix, via)
}

// Unroute removes what Route added.
func (l *Lab) Unroute(prefix netip.Prefix) error { return l.outside.Unroute(prefix) }

// Close ends all processes and servers and lets the namespaces go.
func (l *Lab) Close() error {
	l.mu.Lock()
	hosts := l.hosts
	l.hosts, l.nodes = map[string]*Host{}, nil
	l.mu.Unlock()

	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.release())
	}
	return errors.Join(errs...)
}

// add registers a host under its name.
func (l *Lab) add(name string, r role) (*Host, error) {
	l.mu.Lock()
	_, taken := l.hosts[name]
	l.mu.Unlock()
	if taken || name == "" {
		return nil, fmt.Errorf("name %q is taken or empty: give each host its own", name)
	}
	h, err := newHost(l, name, r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts[name] = h
	return h, nil
}

// nextLink numbers veth devices, so that their names are unique in any namespace.
func (l *Lab) nextLink() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links++
	return l.links - 1
}

// gateway finds the outside switch's address in the subnet of one of the given
// addresses, per family.
func (l *Lab) gateway(f Family, addrs []netip.Prefix) (netip.Addr, bool) {
	for _, g := range l.gateways {
		for _, a := range addrs {
			if familyOf(a.Addr()) == f && familyOf(g.Addr()) == f && g.Contains(a.Addr()) {
				return g.Addr(), true
			}
		}
	}
	return netip.Addr{}, false
}

// attach plugs a host into the outside switch and gives it addresses and
// default routes.
func (l *Lab) attach(h *Host, addrs []netip.Prefix) error {
	port := fmt.Sprintf("port%d", l.nextLink())
	_, eth0, err := l.outside.connect(port, h, l.bridge)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := h.addAddr(eth0, a); err != nil {
			return err
		}
		h.addrs = append(h.addrs, a.Addr())
	}
	for _, f := range []Family{IPv4, IPv6} {
		if g, ok := l.gateway(f, addrs); ok {
			if err := h.addRoute(netlink.Route{LinkIndex: eth0, Dst: f.everything(), Gw: g.AsSlice()}); err != nil {
				return err
			}
		}
	}
	return errors.Join(l.outside.awaitAddrs(l.bridge), h.awaitAddrs(eth0))
}
