package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// AddClient attaches one more client to the outside switch.
func (l *Lab) AddClient(c Client) (*Host, error) {
	h, err := l.add(c.Name, endHost)
	if err != nil {
		return nil, fmt.Errorf("add client %s: %w", c.Name, err)
	}
	if err := l.attach(h, c.Addrs); err != nil {
		return nil, errors.Join(fmt.Errorf("add client %s: %w", c.Name, err), h.Close())
	}
	return h, nil
}

// AddNode attaches one more node with its pods, and tells all others the routes
// to its pod CIDRs.
func (l *Lab) AddNode(n Node) (*Host, error) {
	h, err := l.add(n.Name, router)
	if err != nil {
		return nil, fmt.Errorf("add node %s: %w", n.Name, err)
	}
	if err := l.setUpNode(h, n); err != nil {
		return nil, errors.Join(fmt.Errorf("add node %s: %w", n.Name, err), h.Close())
	}
	for _, p := range n.Pods {
		if _, err := l.AddPod(n.Name, p); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (l *Lab) setUpNode(h *Host, n Node) error {
	h.podCIDRs, h.podLink = slices.Clone(n.PodCIDRs), n.Link
	if err := l.attach(h, n.Addrs); err != nil {
		return err
	}
	if n.Link != Veth {
		if err := h.addPodBridge(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	others := append(slices.Clone(l.nodes), l.outside)
	l.nodes = append(l.nodes, h)
	l.mu.Unlock()
	for _, o := range others {
		if err := errors.Join(o.routeToPods(h), h.routeToPods(o)); err != nil {
			return err
		}
	}
	return nil
}

// routeToPods adds the routes to another node's pods.
func (h *Host) routeToPods(node *Host) error {
	for _, cidr := range node.podCIDRs {
		via, ok := node.Addr(familyOf(cidr.Addr()))
		if !ok {
			return fmt.Errorf("pod CIDR %s of %s: the node has no address of this family", cidr, node.name)
		}
		if err := h.Route(cidr, via); err != nil {
			return err
		}
	}
	return nil
}

// addPodBridge makes cni0 with the pods' gateway addresses.
func (h *Host) addPodBridge() error {
	index, err := h.addBridge("cni0")
	if err != nil {
		return err
	}
	for _, cidr := range h.podCIDRs {
		if err := h.addAddr(index, netip.PrefixFrom(gatewayIn(cidr), cidr.Bits())); err != nil {
			return err
		}
	}
	// Pods that answer each other over the bridge must meet conntrack on the way,
	// or the answer's address is not translated back. Kubernetes asks for this.
	return errors.Join(
		h.SetSysctl("net/bridge/bridge-nf-call-iptables", "1"),
		h.SetSysctl("net/bridge/bridge-nf-call-ip6tables", "1"))
}

// AddPod attaches one more pod to a node.
func (l *Lab) AddPod(node string, p Pod) (*Host, error) {
	n := l.Host(node)
	h, err := l.add(p.Name, endHost)
	if err != nil {
		return nil, fmt.Errorf("add pod %s: %w", p.Name, err)
	}
	h.addrs = slices.Clone(p.Addrs)
	attach := n.attachVeth
	if n.podLink != Veth {
		attach = n.attachBridge
	}
	if err := attach(h); err != nil {
		return nil, errors.Join(fmt.Errorf("add pod %s: %w", p.Name, err), h.Close())
	}
	return h, nil
}

// attachVeth links a pod by a routed point-to-point pair: each side has a host
// route to the other's address.
func (h *Host) attachVeth(pod *Host) error {
	veth, eth0, err := h.connect(fmt.Sprintf("veth%d", h.lab.nextLink()), pod, 0)
	if err != nil {
		return err
	}
	for _, addr := range pod.addrs {
		cidr, err := h.podCIDR(addr)
		if err != nil {
			return err
		}
		gateway := gatewayIn(cidr)
		err = errors.Join(
			h.addAddr(veth, single(gateway)),
			h.addRoute(onLink(veth, addr)),
			pod.addAddr(eth0, single(addr)),
			pod.addRoute(onLink(eth0, gateway)),
			pod.addRoute(netlink.Route{LinkIndex: eth0, Dst: familyOf(addr).everything(), Gw: gateway.AsSlice()}))
		if err != nil {
			return err
		}
	}
	return errors.Join(h.awaitAddrs(veth), pod.awaitAddrs(eth0))
}

// attachBridge makes a pod a port of cni0.
func (h *Host) attachBridge(pod *Host) error {
	bridge, err := h.links.LinkByName("cni0")
	if err != nil {
		return fmt.Errorf("find cni0: %w", err)
	}
	port, eth0, err := h.connect(fmt.Sprintf("veth%d", h.lab.nextLink()), pod, bridge.Attrs().Index)
	if err != nil {
		return err
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: port}}
	if err := h.links.LinkSetHairpin(link, true); err != nil {
		return fmt.Errorf("set hairpin mode: %w", err)
	}
	for _, addr := range pod.addrs {
		cidr, err := h.podCIDR(addr)
		if err != nil {
			return err
		}
		err = errors.Join(
			pod.addAddr(eth0, netip.PrefixFrom(addr, cidr.Bits())),
			pod.addRoute(netlink.Route{LinkIndex: eth0, Dst: familyOf(addr).everything(), Gw: gatewayIn(cidr).AsSlice()}))
		if err != nil {
			return err
		}
	}
	return errors.Join(h.awaitAddrs(bridge.Attrs().Index), pod.awaitAddrs(eth0))
}

func (h *Host) podCIDR(addr netip.Addr) (netip.Prefix, error) {
	for _, cidr := range h.podCIDRs {
		if cidr.Contains(addr) {
			return cidr, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("address %s is in none of the pod CIDRs %v of %s", addr, h.podCIDRs, h.name)
}

// gatewayIn is the first address of a pod CIDR after the network's own.
func gatewayIn(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }

// onLink is the route to one address on a device.
func onLink(index int, addr netip.Addr) netlink.Route {
	return netlink.Route{LinkIndex: index, Dst: ipNet(single(addr)), Scope: netlink.SCOPE_LINK}
}

func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
