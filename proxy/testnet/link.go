package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

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
	// Each refusal is heard, however many there are: no type of ICMP message is
	// limited, neither for each client nor for all together (net/ipv4/icmp.c,
	// icmpv4_mask_allow). IPv6 wants a list of types; 255 has no meaning.
	{"net/ipv4/icmp_ratemask", "0"},
	{"net/ipv6/icmp/ratemask", "255"},
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
		// A new namespace begins with the machine's values.
		{"net/ipv4/ip_forward", "0"},
		{"net/ipv6/conf/all/forwarding", "0"},
		{"net/ipv6/conf/default/forwarding", "0"},
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
// It has a hardware address of its own. Without one a bridge takes the lowest of
// its ports' and changes it as they come and go (br_stp_recalculate_bridge_id),
// and hosts that know the old one lose their packets for up to a minute.
func (h *Host) addBridge(name string) (index int, err error) {
	snooping := false
	bridge := &netlink.Bridge{
		LinkAttrs:         netlink.LinkAttrs{Name: name, Flags: net.FlagUp, HardwareAddr: hardwareAddr()},
		MulticastSnooping: &snooping,
	}
	if err := h.links.LinkAdd(bridge); err != nil {
		return 0, fmt.Errorf("add bridge %s to %s: %w", name, h.name, err)
	}
	return h.linkUp(name)
}

// hardwareAddr is a random address that is locally administered and no group's.
func hardwareAddr() net.HardwareAddr {
	addr := make(net.HardwareAddr, 6)
	binary.BigEndian.PutUint16(addr, uint16(rand.Uint32()))
	binary.BigEndian.PutUint32(addr[2:], rand.Uint32())
	addr[0] = addr[0]&^1 | 2
	return addr
}

// connect makes a veth pair to a new host: the named end here, a port of a
// bridge if one is given, and eth0 there. It returns when both carry packets.
func (h *Host) connect(name string, peer *Host, bridge int) (here, there int, err error) {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MasterIndex: bridge},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(peer.ns),
	}
	if err := h.links.LinkAdd(veth); err != nil {
		return 0, 0, fmt.Errorf("link %s to %s: %w", h.name, peer.name, err)
	}
	if here, err = h.linkUp(name); err != nil {
		return 0, 0, err
	}
	if there, err = peer.linkUp("eth0"); err != nil {
		return 0, 0, err
	}
	err = errors.Join(h.awaitUp(here), peer.awaitUp(there))
	if bridge != 0 {
		err = errors.Join(err, h.awaitUp(bridge))
	}
	return here, there, err
}

// awaitUp waits until a device carries packets. The kernel brings it up some
// time after both ends are set up (net/core/link_watch.c) and drops what is sent
// until then.
func (h *Host) awaitUp(index int) error {
	return await(fmt.Sprintf("link %d of %s to come up", index, h.name), func() (bool, error) {
		link, err := h.links.LinkByIndex(index)
		if err != nil || link.Attrs().OperState != netlink.OperUp {
			return false, err
		}
		// Any change waits for the lock under which the kernel ends bringing it up.
		return true, h.links.LinkSetUp(link)
	})
}

// awaitAddrs waits until a device's IPv6 addresses can be used: also without
// duplicate address detection they are tentative until a work queue has made
// their routes. (With IFA_F_NODAD they would not be, and just as unusable.)
func (h *Host) awaitAddrs(index int) error {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	return await(fmt.Sprintf("addresses of link %d of %s", index, h.name), func() (bool, error) {
		addrs, err := h.links.AddrList(link, netlink.FAMILY_V6)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			return false, nil
		}
		tentative := func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }
		if err != nil || slices.ContainsFunc(addrs, tentative) {
			return false, err
		}
		return true, h.links.LinkSetUp(link) // waits for the same lock as above
	})
}

// await asks until something is done, fails, or 10 s have passed.
func await(what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if ok, err := done(); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		} else if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for %s: not so after 10 s", what)
		}
	}
}

func (h *Host) addAddr(index int, p netip.Prefix) error {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	if err := h.links.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
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
