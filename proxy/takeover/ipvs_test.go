package takeover_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy/takeover"
)

// Commands and attributes of IPVS (uapi/linux/ip_vs.h).
const (
	newService = 1
	getService = 4

	attrService   = 1
	attrFamily    = 1
	attrProtocol  = 2
	attrAddress   = 3
	attrPort      = 4
	attrScheduler = 6
	attrFlags     = 7
	attrTimeout   = 8
	attrNetmask   = 9
)

// ipvs is the kernel's IPVS in the thread's namespace.
type ipvs struct{ family uint16 }

// needIPVS skips the test where the kernel has no IPVS: it runs on Debian's kernels
// (make test-kernels).
func needIPVS(t *testing.T) ipvs {
	t.Helper()
	family, err := netlink.GenlFamilyGet("IPVS")
	if errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel has no IPVS (ip_vs)")
	}
	if err != nil {
		t.Fatal(err)
	}
	return ipvs{family.ID}
}

func (v ipvs) request(command uint8, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(int(v.family), flags)
	r.AddData(&nl.Genlmsg{Command: command, Version: 1})
	return r
}

// add makes a TCP service, as kube-proxy does for a cluster IP.
func (v ipvs) add(t *testing.T, service string) {
	t.Helper()
	at := netip.MustParseAddrPort(service)
	family, netmask := uint16(unix.AF_INET), uint32(0xffffffff)
	if at.Addr().Is6() {
		family, netmask = unix.AF_INET6, 128
	}
	address := make([]byte, 16)
	copy(address, at.Addr().AsSlice())
	native16 := func(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }
	native32 := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	a := nl.NewRtAttr(attrService|unix.NLA_F_NESTED, nil)
	a.AddRtAttr(attrFamily, native16(family))
	a.AddRtAttr(attrProtocol, native16(unix.IPPROTO_TCP))
	a.AddRtAttr(attrAddress, address)
	a.AddRtAttr(attrPort, binary.BigEndian.AppendUint16(nil, at.Port()))
	a.AddRtAttr(attrScheduler, append([]byte("rr"), 0))
	a.AddRtAttr(attrFlags, append(native32(0), native32(0xffffffff)...))
	a.AddRtAttr(attrTimeout, native32(0))
	a.AddRtAttr(attrNetmask, native32(netmask))
	r := v.request(newService, unix.NLM_F_ACK)
	r.AddData(a)
	if _, err := r.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		t.Fatalf("add IPVS service %s: %v", service, err)
	}
}

// count is how many services there are.
func (v ipvs) count(t *testing.T) int {
	t.Helper()
	messages, err := v.request(getService, unix.NLM_F_DUMP).Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		t.Fatalf("list IPVS services: %v", err)
	}
	return len(messages)
}

// TestCleanIPVS: what kube-proxy's ipvs mode made goes: services, device and IP
// sets. IPVS services without the device are somebody else's, and other IP sets too.
func TestCleanIPVS(t *testing.T) {
	ns := kerneltest.Namespace(t)
	ns.Do(t, func() {
		v := needIPVS(t)
		v.add(t, "10.96.0.1:443")
		for _, set := range []string{"KUBE-CLUSTER-IP", "KUBE-6-NODE-PORT-TCP", "mine"} {
			if err := netlink.IpsetCreate(set, "hash:ip", netlink.IpsetCreateOptions{}); err != nil {
				t.Fatalf("make IP set %s: %v", set, err)
			}
		}
		sets := []string{"IP set KUBE-6-NODE-PORT-TCP", "IP set KUBE-CLUSTER-IP"}
		if diff := cmp.Diff(map[takeover.Outcome][]string{takeover.Found: sets}, clean(t, true)); diff != "" {
			t.Errorf("without the device, wanted (-) and found (+):\n%s", diff)
		}

		device := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "kube-ipvs0"}}
		if err := netlink.LinkAdd(device); err != nil {
			t.Fatalf("make device kube-ipvs0: %v", err)
		}
		v.add(t, "10.96.0.10:53")
		v.add(t, "[fd00:10:96::10]:53")
		want := append(slices.Clone(sets), "all IPVS services", "device kube-ipvs0")
		slices.Sort(want)
		if diff := cmp.Diff(map[takeover.Outcome][]string{takeover.Found: want}, clean(t, true)); diff != "" {
			t.Errorf("dry run, wanted (-) and found (+):\n%s", diff)
		}
		if n := v.count(t); n != 3 {
			t.Errorf("the dry run left %d services of 3", n)
		}
		if diff := cmp.Diff(map[takeover.Outcome][]string{takeover.Removed: want}, clean(t, false)); diff != "" {
			t.Errorf("wanted (-) and removed (+):\n%s", diff)
		}
		if n := v.count(t); n != 0 {
			t.Errorf("%d IPVS services are left", n)
		}
		if _, err := netlink.LinkByName("kube-ipvs0"); err == nil {
			t.Error("the device is left")
		}
		left, err := netlink.IpsetListAll()
		if err != nil || len(left) != 1 || left[0].SetName != "mine" {
			t.Errorf("IP sets left: %s, %v; want mine", fmt.Sprint(left), err)
		}
		if found := clean(t, false); len(found) != 0 {
			t.Errorf("found after the removal: %v", found)
		}
	})
}
