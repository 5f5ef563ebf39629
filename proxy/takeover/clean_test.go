package takeover_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy/takeover"
)

// clean runs Clean and returns the findings of each outcome.
func clean(t *testing.T, dryRun bool) map[takeover.Outcome][]string {
	t.Helper()
	found := map[takeover.Outcome][]string{}
	tell := func(f takeover.Finding) { found[f.Outcome] = append(found[f.Outcome], f.Object) }
	if err := takeover.Clean(takeover.Options{DryRun: dryRun, Tell: tell}); err != nil {
		t.Fatal(err)
	}
	for _, objects := range found {
		slices.Sort(objects)
	}
	return found
}

// TestClean: everything of kube-proxy goes, in both families; everything else
// stays as it was, with its counters.
func TestClean(t *testing.T) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) {
			kerneltest.Namespace(t).Do(t, func() {
				loadBystanders(t, m)
				before := m.save(t)
				if found := clean(t, false); len(found) != 0 {
					t.Errorf("found beside a kubelet: %v", found)
				}
				var want []string
				for _, s := range oldServices() {
					s.load(t, m)
					want = append(want, s.leftovers(m)...)
				}
				slices.Sort(want)
				loaded := m.save(t)
				if diff := cmp.Diff(map[takeover.Outcome][]string{takeover.Found: want}, clean(t, true)); diff != "" {
					t.Errorf("dry run, wanted (-) and found (+):\n%s", diff)
				}
				if diff := cmp.Diff(loaded, m.save(t)); diff != "" {
					t.Errorf("the dry run changed:\n%s", diff)
				}
				if diff := cmp.Diff(map[takeover.Outcome][]string{takeover.Removed: want}, clean(t, false)); diff != "" {
					t.Errorf("wanted (-) and removed (+):\n%s", diff)
				}
				if diff := cmp.Diff(before, m.save(t)); diff != "" {
					t.Errorf("before kube-proxy (-) and after its removal (+):\n%s", diff)
				}
				if found := clean(t, false); len(found) != 0 {
					t.Errorf("found after the removal: %v", found)
				}
			})
		})
	}
}

// TestNothing: in an empty namespace nothing is found, and nothing comes to be: to
// look at a table of iptables-legacy would make it.
func TestNothing(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		if found := clean(t, false); len(found) != 0 {
			t.Errorf("found %v", found)
		}
		for _, list := range []string{"ip_tables_names", "ip6_tables_names"} {
			names, err := os.ReadFile("/proc/thread-self/net/" + list)
			if err != nil || len(names) > 0 {
				t.Errorf("legacy tables in %s: %q, %v", list, names, err)
			}
		}
	})
}

// TestNeededByOthers: a chain stays with its rules while a chain of someone else
// jumps to it, and a FORWARD chain that now drops what Services forward is told.
func TestNeededByOthers(t *testing.T) {
	for _, m := range []mode{iptablesNFT, iptablesLegacy} {
		t.Run(string(m), func(t *testing.T) {
			kerneltest.Namespace(t).Do(t, func() {
				oldServices()[0].load(t, m)
				run(t, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n*nat\n:CNI-SETMARK - [0:0]\n-A PREROUTING -j CNI-SETMARK\n-A CNI-SETMARK -j KUBE-MARK-MASQ\nCOMMIT\n",
					m.program("ip", "restore"), "--noflush")
				suffix := map[mode]string{iptablesLegacy: " (iptables-legacy)"}[m]
				found := clean(t, false)
				want := map[takeover.Outcome][]string{
					takeover.Kept:    {"chain ip nat" + suffix + " KUBE-MARK-MASQ"},
					takeover.Warning: {"chain ip filter" + suffix + " FORWARD"},
				}
				delete(found, takeover.Removed)
				if diff := cmp.Diff(want, found); diff != "" {
					t.Errorf("wanted (-) and found (+):\n%s", diff)
				}
				left := run(t, "", m.program("ip", "save"), "-t", "nat")
				for _, rule := range []string{"-A PREROUTING -j CNI-SETMARK", "-A CNI-SETMARK -j KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK"} {
					if !strings.Contains(left, rule) {
						t.Errorf("%s is gone:\n%s", rule, left)
					}
				}
				if strings.Contains(left, "KUBE-SERVICES") {
					t.Errorf("KUBE-SERVICES is left:\n%s", left)
				}
			})
		})
	}
}

// TestIPSetsAndCounters: what rules refer to goes after them, though nf_tables
// destroys rules in the background.
func TestIPSetsAndCounters(t *testing.T) {
	for _, m := range []mode{iptablesNFT, iptablesLegacy} {
		t.Run(string(m), func(t *testing.T) {
			kerneltest.Namespace(t).Do(t, func() {
				for _, name := range []string{"KUBE-CLUSTER-IP", "KUBE-6-LOAD-BALANCER-SOURCE-CID", "KUBE-MINE"} {
					if err := netlink.IpsetCreate(name, "hash:ip,port", netlink.IpsetCreateOptions{}); err != nil {
						t.Fatalf("create IP set %s: %v", name, err)
					}
				}
				addCounter(t, "ct_state_invalid_dropped_pkts")
				addCounter(t, "mine")
				run(t, `*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A FORWARD -m nfacct --nfacct-name mine
-A KUBE-FORWARD -m conntrack --ctstate INVALID -m nfacct --nfacct-name ct_state_invalid_dropped_pkts -j DROP
COMMIT
*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
`, m.program("ip", "restore"))
				found := clean(t, false)[takeover.Removed]
				for _, want := range []string{"IP set KUBE-CLUSTER-IP", "IP set KUBE-6-LOAD-BALANCER-SOURCE-CID", "packet counter ct_state_invalid_dropped_pkts"} {
					if !slices.Contains(found, want) {
						t.Errorf("%s was not removed: %v", want, found)
					}
				}
				sets, err := netlink.IpsetListAll()
				if err != nil || len(sets) != 1 || sets[0].SetName != "KUBE-MINE" {
					t.Errorf("IP sets left: %+v, %v", sets, err)
				}
				if left := run(t, "", m.program("ip", "save")); !strings.Contains(left, "--nfacct-name  mine") && !strings.Contains(left, "--nfacct-name mine") {
					t.Errorf("the other counter's rule is gone:\n%s", left)
				}
			})
		})
	}
}

// TestForeignDevice: a device with the name of kube-proxy's but of another type is
// an error, and stays. (A dummy device is not to be had on every kernel.)
func TestForeignDevice(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "kube-ipvs0"}}); err != nil {
			t.Fatal(err)
		}
		err := takeover.Clean(takeover.Options{Tell: func(f takeover.Finding) { t.Error(f) }})
		if err == nil || !strings.Contains(err.Error(), "kube-ipvs0") {
			t.Errorf("error %v", err)
		}
		if _, err := netlink.LinkByName("kube-ipvs0"); err != nil {
			t.Errorf("the device is gone: %v", err)
		}
	})
}

// TestWithoutCapability: every part that can't be looked at is in the error.
func TestWithoutCapability(t *testing.T) {
	kerneltest.Namespace(t).Do(t, func() {
		var err error
		withoutCapabilities(t, func() {
			err = takeover.Clean(takeover.Options{Tell: func(f takeover.Finding) { t.Error(f) }})
		})
		for _, part := range []string{"tables of family ip:", "tables of family ip6:"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q is missing in the error: %v", part, err)
			}
		}
	})
}
