package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sysctl is a setting of a namespace.
type sysctl struct{ name, value string }

// common holds in every namespace. It is written before there are links, so
// that "default" reaches all of them.
var common = []sysctl{
	// Addresses are usable at once.
	{"net/ipv6/conf/all/disable_ipv6", "0"},
	{"net/ipv6/conf/default/disable_ipv6", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
	{"net/ipv6/conf/default/dad_transmits", "0"},
	{"net/ipv6/conf/default/accept_ra", "0"},
	// Routes are what the topology says.
	{"net/ipv4/conf/all/accept_redirects", "0"},
	{"net/ipv4/conf/default/accept_redirects", "0"},
	{"net/ipv4/conf/all/send_redirects", "0"},
	{"net/ipv4/conf/default/send_redirects", "0"},
	{"net/ipv6/conf/default/accept_redirects", "0"},
	// Each refusal is heard, however many there are.
	{"net/ipv4/icmp_ratelimit", "0"},
	{"net/ipv4/icmp_msgs_per_sec", "1000000"},
	{"net/ipv6/icmp/ratelimit", "0"},
	// A flood of short connections does not fill the table of connections, whose
	// size belongs to the whole machine: closed ones leave after 1 s instead of 10.
	{"net/netfilter/nf_conntrack_tcp_timeout_close", "1"},
}

var byRole = map[role][]sysctl{
	router: {
		// First: changing ip_forward resets settings of conf/.
		{"net/ipv4/ip_forward", "1"},
		{"net/ipv6/conf/all/forwarding", "1"},
		{"net/ipv6/conf/default/forwarding", "1"},
		// Loose, as systemd sets it.
		{"net/ipv4/conf/all/rp_filter", "2"},
		{"net/ipv4/conf/default/rp_filter", "2"},
	},
	endHost: {
		{"net/ipv4/conf/all/rp_filter", "0"},
		{"net/ipv4/conf/default/rp_filter", "0"},
		{"net/ipv4/ip_local_port_range", "1024 65535"},
	},
}

// setUp makes a new namespace ready for links.
func (h *Host) setUp(r role) error {
	for _, s := range slices.Concat(byRole[r], common) {
		if err := h.SetSysctl(s.name, s.value); err != nil {
			return err
		}
	}
	_, err := h.linkUp("lo")
	return err
}

func (h *Host) linkUp(name string) (index int, err error) {
	link, err := h.links.LinkByName(name)
	if err == nil {
		err = h.links.LinkSetUp(link)
	}
	if err != nil {
		return 0, fmt.Errorf("set up %s on %s: %w", name, h.name, err)
	}
	return link.Attrs().Index, nil
}

// addBridge makes a bridge that forwards at once: no spanning tree, no snooping.
func (h *Host) addBridge(name string) (index int, err error) {
	snooping := false
	bridge := &netlink.Bridge{
		LinkAttrs:         netlink.LinkAttrs{Name: name, Flags: net.FlagUp},
		MulticastSnooping: &snooping,
	}
	if err := h.links.LinkAdd(bridge); err != nil {
		return 0, fmt.Errorf("add bridge %s to %s: %w", name, h.name, err)
	}
	return h.linkUp(name)
}

// addVeth makes a pair: the named end here, eth0 at the peer. The end here is
// up, and a port of a bridge if one is given.
func (h *Host) addVeth(name string, peer *Host, bridge int) (index int, err error) {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MasterIndex: bridge},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(peer.ns),
	}
	if err := h.links.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("link %s to %s: %w", h.name, peer.name, err)
	}
	return h.linkUp(name)
}

func (h *Host) addAddr(index int, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if familyOf(p.Addr()) == IPv6 {
		addr.Flags = unix.IFA_F_NODAD
	}
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	if err := h.links.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", p, h.name, err)
	}
	return nil
}

func (h *Host) addRoute(r netlink.Route) error {
	if err := h.links.RouteReplace(&r); err != nil {
		return fmt.Errorf("add route to %s on %s: %w", r.Dst, h.name, err)
	}
	return nil
}

// LinkNames lists the host's devices.
func (h *Host) LinkNames() ([]string, error) {
	links, err := h.links.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list links of %s: %w", h.name, err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names, nil
}
