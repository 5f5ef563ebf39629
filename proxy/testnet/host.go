package testnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Family is an address family.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string { return fmt.Sprintf("IPv%d", uint8(f)) }

// everything is the destination of a default route.
func (f Family) everything() *net.IPNet {
	if f == IPv4 {
		return ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}

func familyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// role is what a namespace's sysctls make of it.
type role uint8

const (
	endHost role = iota // pods and clients
	router              // nodes and the outside switch
)

// Host is one network namespace: a node, pod, client, or the outside switch. Its
// methods may be called from any goroutine.
type Host struct {
	lab   *Lab
	name  string
	ns    netns.NsHandle
	links *netlink.Handle

	podCIDRs []netip.Prefix // of a node
	podLink  Link

	mu      sync.Mutex // guards what follows
	addrs   []netip.Addr
	closers []io.Closer // servers and processes, in the order of their start
	closed  bool
}

func newHost(lab *Lab, name string, r role) (*Host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("make namespace (needs root): %w", err)
	}
	h := &Host{lab: lab, name: name, ns: ns}
	if h.links, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(fmt.Errorf("open rtnetlink: %w", err), ns.Close())
	}
	if err := h.setUp(r); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

// newNamespace makes a namespace without a name, held by the descriptor returned.
func newNamespace() (ns netns.NsHandle, err error) {
	err = onThread(func() error {
		ns, err = netns.New()
		return err
	})
	return ns, err
}

// onThread runs f on a thread of its own and puts the thread back into its
// namespace afterwards.
func onThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	origin, err := netns.Get()
	if err != nil {
		return fmt.Errorf("get the thread's namespace: %w", err)
	}
	defer func() {
		if err := errors.Join(netns.Set(origin), origin.Close()); err != nil {
			// A thread in the wrong namespace would be handed to any goroutine.
			panic(fmt.Sprintf("testnet: return to the thread's namespace: %v", err))
		}
	}()
	return f()
}

// Do runs f on a thread in the host's namespace: sockets that f opens, and
// /proc/sys/net as f sees it, are the host's. Goroutines that f starts run elsewhere.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter namespace of %s: %w", h.name, err)
		}
		return f()
	})
}

// Name is the host's name in the topology.
func (h *Host) Name() string { return h.name }

// Path names the host's namespace in /proc for as long as the laboratory lives:
// nsenter --net=PATH.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.ns)) }

// FD is the descriptor that holds the namespace. It belongs to the host.
func (h *Host) FD() int { return int(h.ns) }

// Addrs lists the host's own addresses.
func (h *Host) Addrs() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.addrs)
}

// Addr is the host's first own address of a family.
func (h *Host) Addr(f Family) (netip.Addr, bool) {
	for _, a := range h.Addrs() {
		if familyOf(a) == f {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// SetSysctl writes a sysctl of the namespace: its path below /proc/sys, as in
// "net/ipv4/ip_forward".
func (h *Host) SetSysctl(name, value string) error {
	return h.Do(func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl on %s: %w", h.name, err)
		}
		return nil
	})
}

// Sysctl reads a sysctl of the namespace.
func (h *Host) Sysctl(name string) (value string, err error) {
	err = h.Do(func() error {
		b, err := os.ReadFile(filepath.Join("/proc/sys", name))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

// AddAddr adds an address to eth0. Servers that are already running don't take it.
func (h *Host) AddAddr(p netip.Prefix) error {
	eth0, err := h.links.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w", p, h.name, err)
	}
	index := eth0.Attrs().Index
	if err := h.addAddr(index, p); err != nil {
		return err
	}
	if err := h.awaitAddrs(index); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addrs = append(h.addrs, p.Addr())
	return nil
}

// DelAddr removes an address from eth0.
func (h *Host) DelAddr(p netip.Prefix) error {
	eth0, err := h.links.LinkByName("eth0")
	if err == nil {
		err = h.links.AddrDel(eth0, &netlink.Addr{IPNet: ipNet(p)})
	}
	if err != nil {
		return fmt.Errorf("remove address %s from %s: %w", p, h.name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addrs = slices.DeleteFunc(h.addrs, func(a netip.Addr) bool { return a == p.Addr() })
	return nil
}

// Route makes the host reach a prefix through a gateway; a route to the same
// prefix is replaced.
func (h *Host) Route(prefix netip.Prefix, via netip.Addr) error {
	return h.addRoute(netlink.Route{Dst: ipNet(prefix.Masked()), Gw: via.AsSlice()})
}

// Unroute removes the host's route to a prefix.
func (h *Host) Unroute(prefix netip.Prefix) error {
	if err := h.links.RouteDel(&netlink.Route{Dst: ipNet(prefix.Masked())}); err != nil {
		return fmt.Errorf("remove route to %s from %s: %w", prefix, h.name, err)
	}
	return nil
}

// Close ends the host's processes and servers and takes it out of the
// laboratory. Routes of others to it stay.
func (h *Host) Close() error {
	h.lab.mu.Lock()
	if h.lab.hosts[h.name] == h {
		delete(h.lab.hosts, h.name)
	}
	h.lab.nodes = slices.DeleteFunc(h.lab.nodes, func(n *Host) bool { return n == h })
	h.lab.mu.Unlock()
	return h.release()
}

// own makes the host close c when it closes.
func (h *Host) own(c io.Closer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.Join(fmt.Errorf("host %s is closed", h.name), c.Close())
	}
	h.closers = append(h.closers, c)
	return nil
}

// disown forgets what has ended by itself.
func (h *Host) disown(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closers = slices.DeleteFunc(h.closers, func(o io.Closer) bool { return o == c })
}

func (h *Host) release() error {
	h.mu.Lock()
	closers, closed := h.closers, h.closed
	h.closers, h.closed = nil, true
	h.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	for _, c := range slices.Backward(closers) {
		errs = append(errs, c.Close())
	}
	h.links.Close()
	return errors.Join(append(errs, h.ns.Close())...)
}
