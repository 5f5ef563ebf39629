package takeover_test

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// addCounter makes a named packet counter (nfnetlink_acct's message NEW, with its
// attribute NAME).
func addCounter(t *testing.T, name string) {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: append([]byte(name), 0)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_ACCT << 8,
			Flags: netlink.Request | netlink.Create | netlink.Acknowledge,
		},
		Data: append(make([]byte, 4), attributes...),
	})
	if err != nil {
		t.Fatalf("make packet counter %s: %v", name, err)
	}
}

// withoutCapabilities runs f on the calling thread without any capability.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		t.Fatal(err)
	}
	none := had
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Capset(&header, &had[0]); err != nil {
			panic(err) // the thread would go on without
		}
	}()
	f()
}
