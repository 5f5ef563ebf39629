package proxy_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// reconfigure changes the configuration, and waits until the table follows.
func (w *watched) reconfigure(t *testing.T, c proxy.Config) {
	t.Helper()
	if err := w.proxy.Reconfigure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.synced(t)
}

// synced waits until the table is what it should be.
func (w *watched) synced(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		status, err := w.proxy.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.Synced {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not synced: %+v", status)
		}
	}
}

func list(t *testing.T, node *testnet.Host) string {
	t.Helper()
	text, err := node.Run("nft", "list", "table", "inet", "kube-vmap")
	if err != nil {
		t.Fatal(err, text)
	}
	return text
}

// changes are configurations one after the other, each with something that the
// table says then; with owned tables where the kernel has them.
func changes(base proxy.Config, own bool) (list []struct {
	config proxy.Config
	says   string
}) {
	add := func(says string, change func(*proxy.Config)) {
		c := base
		change(&c)
		list = append(list, struct {
			config proxy.Config
			says   string
		}{c, says})
	}
	add("0x00000020", func(c *proxy.Config) { c.MasqueradeMark = 1 << 5 })
	add("0x80000000", func(c *proxy.Config) { c.MasqueradeMark = 1 << 31 })
	add("10.244.0.0/16", func(c *proxy.Config) {
		c.DetectLocal, c.ClusterCIDRs = proxy.DetectClusterCIDR, testnet.Prefixes("10.244.0.0/16", "fd00:10:244::/56")
	})
	add(`iifname != "veth`, func(c *proxy.Config) { c.DetectLocal, c.PodInterface = proxy.DetectInterfaceNamePrefix, "veth" })
	add(`iifname != "br0"`, func(c *proxy.Config) { c.DetectLocal, c.PodInterface = proxy.DetectBridgeInterface, "br0" })
	add("ip daddr @cluster-ips4 jump mark-for-masquerade", func(c *proxy.Config) { c.MasqueradeAll = true })
	add("192.0.2.10 . tcp . 30080", func(c *proxy.Config) {
		c.NodePortAddresses = proxy.NodePortAddresses{CIDRs: testnet.Prefixes("192.0.2.0/24", "2001:db8:2::/64")}
	})
	add("size 4096", func(c *proxy.Config) { c.AffinitySize = 4096 })
	add("size 1048576", func(c *proxy.Config) { c.Counters = ruleset.CountNothing })
	add("counter packets", func(c *proxy.Config) { c.Counters = ruleset.CountEndpoints })
	if own {
		add("flags owner", func(c *proxy.Config) { c.Own = true })
	}
	add("size 2097152", func(c *proxy.Config) { c.Own, c.AffinitySize, c.MasqueradeMark = own, 1<<21, 1<<3 })
	add("0x00004000", func(*proxy.Config) {})
	return list
}

// TestReconfigureUnderLoad: whatever is changed while connections are opened and
// held, none is lost.
func TestReconfigureUnderLoad(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	first := firstUpdate(webService(), webSlice(lab, "a1", "a2", "b1"))
	addrs := testnet.Addrs("192.0.2.10", "2001:db8:2::10")
	first.HostAddrs = &addrs
	config := nodeConfig()
	config.Coalesce = 0
	w := start(t, node, config, newFeed(first))
	before := table(t, node).Table
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var floods []*testnet.Flood
	var holds []*testnet.Hold
	// The answers of b1 come back by node-a only if it masquerades.
	for _, dst := range []string{"10.96.0.10:80", "[fd00:10:96::10]:80", "192.0.2.10:30080", "[2001:db8:113::20]:80"} {
		to := netip.MustParseAddrPort(dst)
		floods = append(floods, lab.Host("client").Flood(ctx, testnet.FloodOptions{Dst: to, Workers: 2}))
		h, err := lab.Host("client").Hold(ctx, testnet.HoldOptions{Dst: to, Connections: 8})
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, h)
	}
	for _, c := range changes(config, canOwn(t, node)) {
		w.reconfigure(t, c.config)
		if text := list(t, node); !strings.Contains(text, c.says) {
			t.Errorf("the table does not say %q:\n%s", c.says, text)
		}
		time.Sleep(20 * time.Millisecond) // some connections under each
	}
	cancel()
	for i := range floods {
		r, held := floods[i].Wait(), holds[i].Wait()
		t.Logf("%d transactions: %s; %s", w.count(), r, held)
		if r.Failed > 0 || r.Opened == 0 || held.Failed > 0 {
			t.Errorf("%+v, %+v", r, held)
		}
	}
	if diff := nft.Diff(table(t, node).Table, before); !diff.IsEmpty() {
		t.Errorf("the table is not what it was: %q", diff.Lines())
	}
}

// TestReconfigureMasquerades: what outside clients are seen as follows at once.
func TestReconfigureMasquerades(t *testing.T) {
	lab := newLab(t)
	config := nodeConfig()
	w := start(t, lab.Host("node-a"), config, newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	vip := netip.MustParseAddrPort("10.96.0.10:80")
	masqueraded := func(from string) bool {
		t.Helper()
		o := lab.Host(from).Probe(model.TCP, vip)
		if o.Kind != testnet.Answered {
			t.Fatal(from, o)
		}
		return o.Masqueraded()
	}
	for i, test := range []struct {
		change          func(*proxy.Config)
		client, podOfUs bool
	}{
		{func(*proxy.Config) {}, true, false},
		{func(c *proxy.Config) { c.MasqueradeMark = 1 << 7 }, true, false},
		{func(c *proxy.Config) { c.MasqueradeAll = true }, true, true},
		{func(c *proxy.Config) { c.DetectLocal = proxy.DetectNone }, false, false},
		{func(c *proxy.Config) {
			c.DetectLocal, c.ClusterCIDRs = proxy.DetectClusterCIDR, testnet.Prefixes("198.51.100.0/24")
		}, false, true},
	} {
		c := config
		test.change(&c)
		w.reconfigure(t, c)
		if client, pod := masqueraded("client"), masqueraded("a2"); client != test.client || pod != test.podOfUs {
			t.Errorf("%d: client %v, pod %v", i, client, pod)
		}
	}
}

// TestReconfigureNodePorts: an address that is opened serves, and one that is closed
// serves only the connections it has.
func TestReconfigureNodePorts(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	if err := node.AddAddr(netip.MustParsePrefix("192.0.2.77/32")); err != nil {
		t.Fatal(err)
	}
	first := firstUpdate(webService(), webSlice(lab, "a1", "b1"))
	addrs := testnet.Addrs("192.0.2.10", "192.0.2.77")
	first.HostAddrs = &addrs
	config := nodeConfig()
	w := start(t, node, config, newFeed(first))
	second := netip.MustParseAddrPort("192.0.2.77:30080")
	if err := lab.Route(netip.MustParsePrefix("192.0.2.77/32"), node); err != nil {
		t.Fatal(err)
	}
	client := lab.Host("client")
	if o := client.Probe(model.TCP, second); o.Kind == testnet.Answered {
		t.Fatalf("before: %s", o)
	}
	open := config
	open.NodePortAddresses = proxy.NodePortAddresses{CIDRs: testnet.Prefixes("192.0.2.0/24")}
	w.reconfigure(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hold, err := client.Hold(ctx, testnet.HoldOptions{Dst: second, Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	w.reconfigure(t, config)
	if o := client.Probe(model.TCP, second); o.Kind == testnet.Answered {
		t.Errorf("after: %s", o)
	}
	time.Sleep(300 * time.Millisecond) // the connections go on talking
	cancel()
	if r := hold.Wait(); r.Failed > 0 {
		t.Errorf("%s", r)
	}
}

// TestReconfigureKeepsBindings: bindings survive a table that is replaced.
func TestReconfigureKeepsBindings(t *testing.T) {
	lab := newLab(t)
	node, client := lab.Host("node-a"), lab.Host("client")
	config := nodeConfig()
	w := start(t, node, config, newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "a2", "b1", "b2"))))
	bound := map[string]string{}
	for _, dst := range []string{"203.0.113.20:80", "[2001:db8:113::20]:80"} {
		bound[dst] = only(t, servedBy(t, client, model.TCP, netip.MustParseAddrPort(dst), 3))
	}
	for i, change := range []func(*proxy.Config){
		func(c *proxy.Config) { c.AffinitySize = 512 },
		func(c *proxy.Config) { c.Counters = ruleset.CountEndpoints },
		func(c *proxy.Config) { c.Own = canOwn(t, node) },
		func(*proxy.Config) {},
	} {
		c := config
		change(&c)
		w.reconfigure(t, c)
		for dst, server := range bound {
			if now := only(t, servedBy(t, client, model.TCP, netip.MustParseAddrPort(dst), 8)); now != server {
				t.Errorf("%d: %s was bound to %s, and is to %s", i, dst, server, now)
			}
		}
		if text := list(t, node); !strings.Contains(text, "timeout 1h expires") {
			t.Errorf("%d: no binding with its time:\n%s", i, text)
		}
	}
}

// TestRepairModes: foreign changes are repaired, told of, or not noticed.
func TestRepairModes(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	config := nodeConfig()
	config.Repair = proxy.ReportChanges
	w := start(t, node, config, newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	<-w.settled
	damage := func(chain string) {
		t.Helper()
		if text, err := node.Run("nft", "add", "chain", "inet", "kube-vmap", chain); err != nil {
			t.Fatal(err, text)
		}
	}
	has := func(chain string) bool { return strings.Contains(list(t, node), "chain "+chain+" ") }
	stays := func(chain string) {
		t.Helper()
		n := w.count()
		damage(chain)
		time.Sleep(200 * time.Millisecond)
		if w.count() != n || !has(chain) {
			t.Errorf("%s is repaired", chain)
		}
	}
	stays("reported")
	config.Repair = proxy.IgnoreChanges
	w.reconfigure(t, config)
	stays("ignored")
	config.Repair = proxy.RepairChanges
	w.reconfigure(t, config)
	for _, chain := range []string{"reported", "ignored"} {
		if has(chain) {
			t.Errorf("%s is still there, although changes are repaired now", chain)
		}
	}
	n := w.count()
	damage("repaired")
	w.wait(t, n)
	w.synced(t)
	if has("repaired") {
		t.Error("a change is not repaired")
	}
}

// TestReconfigureRefuses what can't change while the proxy runs.
func TestReconfigureRefuses(t *testing.T) {
	lab := newLab(t)
	config := nodeConfig()
	w := start(t, lab.Host("node-a"), config, newFeed(firstUpdate(webService(), webSlice(lab, "a1"))))
	for i, change := range []func(*proxy.Config){
		func(c *proxy.Config) { c.NodeName = "another" },
		func(c *proxy.Config) { c.Table = "another" },
		func(c *proxy.Config) { c.IPv6 = false },
	} {
		c := config
		change(&c)
		if err := w.proxy.Reconfigure(t.Context(), c); err == nil || !strings.Contains(fmt.Sprint(err), "start it anew") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestReconfigureCoalesce: changes that come within the window go out together.
func TestReconfigureCoalesce(t *testing.T) {
	lab := newLab(t)
	config := nodeConfig()
	config.Coalesce = 0
	f := newFeed(firstUpdate(webService(), webSlice(lab, "a1", "a2")))
	w := start(t, lab.Host("node-a"), config, f)
	pods := [][]string{{"a1"}, {"a1", "a2"}}
	for i := range 4 { // each at once
		n := w.count()
		f.apply(sliceUpdate(webSlice(lab, pods[i%2]...)))
		w.wait(t, n)
	}
	config.Coalesce = time.Second
	w.reconfigure(t, config)
	n := w.count()
	const changes = 40
	for i := range changes {
		f.apply(sliceUpdate(webSlice(lab, pods[i%2]...)))
		time.Sleep(5 * time.Millisecond)
	}
	w.synced(t)
	if sent := w.count() - n; sent >= changes/2 {
		t.Errorf("%d transactions for %d changes", sent, changes)
	}
}

// TestReconfigureAfterFailures: whichever step of a change fails, or is lost after it
// was done, the table becomes what was asked for.
func TestReconfigureAfterFailures(t *testing.T) {
	lab := newLab(t)
	node := lab.Host("node-a")
	owns := canOwn(t, node)
	config := nodeConfig()
	w := start(t, node, config, newFeed(firstUpdate(sticky(time.Hour), webSlice(lab, "a1", "b1"))))
	for step := range 3 {
		for _, done := range []bool{false, true} {
			n := 0
			w.inject(func(_ *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
				n++
				switch {
				case n != step+1:
					return commit()
				case done:
					if result, err := commit(); err != nil {
						return result, err
					}
				}
				return kernel.Result{}, kernel.ErrUncertain
			})
			config.MasqueradeMark ^= 1<<9 | 1<<14
			config.Own = owns && !config.Own
			w.reconfigure(t, config)
			w.inject(nil)
			if text, mark := list(t, node), fmt.Sprintf("0x%08x", config.MasqueradeMark); strings.Count(text, mark) != 3 ||
				strings.Contains(text, "flags owner") != config.Own {
				t.Errorf("step %d, done %v: no table with mark %s alone:\n%s", step, done, mark, text)
			}
		}
	}
}
