package takeover

import (
	"errors"
	"fmt"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The generic netlink family of IPVS (uapi/linux/ip_vs.h).
const (
	ipvsFamily  = "IPVS"
	ipvsVersion = 1
	ipvsFlush   = 17 // IPVS_CMD_FLUSH
)

// cleanIPVS removes what the ipvs mode made: its device, and the IPVS services if
// the device says that they are kube-proxy's.
func (c *cleaner) cleanIPVS() error {
	device, err := netlink.LinkByName(proxyDevice)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find device %s: %w", proxyDevice, err)
	}
	if device.Type() != "dummy" {
		return fmt.Errorf("remove device %s: it is no dummy device, but %s, so kube-proxy did not make it: remove it yourself", proxyDevice, device.Type())
	}
	if err := c.flushIPVS(); err != nil {
		return err // the device stays, so that the services are known for kube-proxy's
	}
	if !c.DryRun {
		if err := netlink.LinkDel(device); err != nil {
			return fmt.Errorf("remove device %s: %w", proxyDevice, err)
		}
	}
	c.removed("device %s", proxyDevice)
	return nil
}

// flushIPVS removes all IPVS services.
func (c *cleaner) flushIPVS() error {
	id, err := findIPVS()
	if err != nil || id == 0 {
		return err
	}
	if !c.DryRun {
		request := nl.NewNetlinkRequest(int(id), unix.NLM_F_ACK)
		request.AddData(&nl.Genlmsg{Command: ipvsFlush, Version: ipvsVersion})
		if _, err := request.Execute(unix.NETLINK_GENERIC, 0); err != nil {
			return fmt.Errorf("remove IPVS services: %w", err)
		}
	}
	c.removed("all IPVS services")
	return nil
}

// findIPVS returns the id of the family; 0: the kernel has no IPVS. It lists all
// families, since asking for one makes the kernel load a module for it.
func findIPVS() (uint16, error) {
	families, err := netlink.GenlFamilyList()
	if err != nil {
		return 0, fmt.Errorf("find IPVS: list generic netlink families: %w", err)
	}
	for _, f := range families {
		if f.Name == ipvsFamily {
			return f.ID, nil
		}
	}
	return 0, nil
}

// cleanIPSets removes the IP sets of the ipvs mode.
func (c *cleaner) cleanIPSets() error {
	sets, err := netlink.IpsetListAll()
	if errors.Is(err, unix.EINVAL) {
		return nil // the kernel has no IP sets
	}
	if err != nil {
		return fmt.Errorf("list IP sets: %w", err)
	}
	var errs []error
	for _, set := range sets {
		if !isProxyIPSet(set.SetName) {
			continue
		}
		if !c.DryRun {
			if err := netlink.IpsetDestroy(set.SetName); err != nil {
				errs = append(errs, fmt.Errorf("remove IP set %s: %w", set.SetName, err))
				continue
			}
		}
		c.removed("IP set %s", set.SetName)
	}
	return errors.Join(errs...)
}

// Messages and attributes of nfnetlink_acct (uapi/linux/netfilter/nfnetlink_acct.h).
const (
	getCounter  = unix.NFNL_SUBSYS_ACCT<<8 | 1
	delCounter  = unix.NFNL_SUBSYS_ACCT<<8 | 3
	counterName = 1
)

// cleanCounters removes kube-proxy's named packet counters.
func (c *cleaner) cleanCounters() error {
	s, err := dialNfnetlink()
	if err != nil {
		return err
	}
	defer s.close()
	var errs []error
	for _, name := range proxyCounters {
		typ := uint16(delCounter)
		if c.DryRun {
			typ = getCounter
		}
		request := message(typ, mdnetlink.Acknowledge, 0, 0, text(counterName, name))
		err := s.ask(request, func(*mdnetlink.AttributeDecoder) error { return nil })
		switch {
		case err == nil:
			c.removed("packet counter %s", name)
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL): // none, or no such subsystem
		default:
			errs = append(errs, fmt.Errorf("remove packet counter %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
