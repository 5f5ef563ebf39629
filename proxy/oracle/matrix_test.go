package oracle

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// setting is a configuration of the proxy to try everything with.
type setting struct {
	link          testnet.Link
	mode          proxy.DetectLocalMode
	podInterface  string
	masqueradeAll bool
}

func (s setting) String() string {
	return fmt.Sprintf("pods on %s, detect local %q, masquerade all %v", s.link, s.mode, s.masqueradeAll)
}

// settings are those to try on a kind of links. With masqueradeAll come another
// mark, and node ports on chosen addresses.
func settings(link testnet.Link) []setting {
	modes := []setting{
		{mode: proxy.DetectNone}, {mode: proxy.DetectNodeCIDR}, {mode: proxy.DetectInterfaceNamePrefix, podInterface: "veth"},
	}
	if link == testnet.Bridge {
		modes = []setting{{mode: proxy.DetectClusterCIDR}, {mode: proxy.DetectBridgeInterface, podInterface: "cni0"}}
	}
	var list []setting
	for _, s := range modes {
		for _, s.masqueradeAll = range []bool{false, true} {
			s.link = link
			list = append(list, s)
		}
	}
	return list
}

func (s setting) config() proxy.Config {
	c := proxy.DefaultConfig()
	c.NodeName, c.DetectLocal, c.PodInterface, c.MasqueradeAll = "node-a", s.mode, s.podInterface, s.masqueradeAll
	c.ClusterCIDRs = testnet.Prefixes("10.244.0.0/16", "fd00:10:244::/48")
	if s.masqueradeAll {
		c.MasqueradeMark = 1 << 15
		c.NodePortAddresses = proxy.NodePortAddresses{CIDRs: testnet.Prefixes("192.0.2.0/24", "10.244.0.0/24", "127.0.0.0/8", "::1/128")}
	}
	return c
}

// TestMatrix sends packets from every kind of source to every kind of frontend,
// under every policy, over every situation of endpoints, with every way to tell
// pods, and compares what becomes of them with the oracle.
func TestMatrix(t *testing.T) {
	var mu sync.Mutex
	var total tally
	begin := time.Now()
	t.Run("links", func(t *testing.T) {
		for _, link := range []testnet.Link{testnet.Veth, testnet.Bridge} {
			t.Run(link.String(), func(t *testing.T) {
				t.Parallel()
				n := matrix(t, link)
				mu.Lock()
				defer mu.Unlock()
				total.add(n)
			})
		}
	})
	t.Logf("Matrix: %d flows checked, %d differ (%d probes in %s; %d answered, %d delivered and answered past the node, %d refused, %d dropped)",
		total.flows, total.differ, total.probes, time.Since(begin).Round(time.Millisecond),
		total.answered, total.past, total.refused, total.dropped)
}

// tally counts flows.
type tally struct{ flows, probes, differ, answered, past, refused, dropped int }

func (n *tally) add(o tally) {
	n.flows += o.flows
	n.probes += o.probes
	n.differ += o.differ
	n.answered += o.answered
	n.past += o.past
	n.refused += o.refused
	n.dropped += o.dropped
}

// matrix tries everything with all settings of a link.
func matrix(t *testing.T, link testnet.Link) tally {
	l := newLaboratory(t, link)
	c := &catalogue{lab: l.Lab}
	about := c.fill()
	for _, s := range c.services {
		for _, a := range append(slices.Clone(s.ExternalIPs), s.LoadBalancerIPs...) {
			if netip.MustParsePrefix("203.0.114.0/24").Contains(a) || netip.MustParsePrefix("2001:db8:114::/64").Contains(a) {
				l.own(t, a)
			}
		}
	}
	list := flows(c.services, about)
	var total tally
	for _, s := range settings(link) {
		cluster := &Cluster{
			Config: s.config(), Services: c.services, Slices: c.slices, HostAddrs: l.addrs, Toward: l.toward,
			Node: model.Node{
				Name: "node-a", Zone: "z1", InternalIPs: testnet.Addrs("192.0.2.10", "2001:db8:2::10"), PodCIDRs: l.pods,
			},
			ServiceCIDRs: testnet.Prefixes("10.96.0.0/16", "fd00:10:96::/112"),
		}
		stop := run(t, l, cluster)
		watchMark(t, l, cluster.Config.MasqueradeMark)
		begin := time.Now()
		n, differences := try(l, cluster, list)
		checkMark(t, l)
		stop()
		t.Logf("%s: %d flows, %d probes in %s, %d differ", s, n.flows, n.probes, time.Since(begin).Round(time.Millisecond), n.differ)
		const shown = 20
		for _, d := range differences[:min(len(differences), shown)] {
			t.Errorf("%s: %s", s, d)
		}
		total.add(n)
	}
	return total
}

// try tries all flows, many at a time.
func try(l *laboratory, c *Cluster, list []flow) (total tally, differences []string) {
	const atOnce = 96
	var mu sync.Mutex
	var tasks sync.WaitGroup
	work := make(chan flow)
	for range atOnce {
		tasks.Go(func() {
			for f := range work {
				n, difference := check(l, c, f)
				mu.Lock()
				total.add(n)
				if difference != "" {
					differences = append(differences, difference)
				}
				mu.Unlock()
			}
		})
	}
	for _, f := range list {
		work <- f
	}
	close(work)
	tasks.Wait()
	slices.Sort(differences)
	return total, differences
}

// run runs a proxy on node-a, and returns when the table is complete.
func run(t *testing.T, l *laboratory, c *Cluster) (stop func()) {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{NetNS: l.Host("node-a").FD()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	complete, done := make(chan struct{}), make(chan error, 1)
	log := funcr.New(func(_, args string) {
		if strings.Contains(args, "table is complete") {
			close(complete)
		}
	}, funcr.Options{})
	go func() { done <- proxy.New(c.Config, conn, logr.New(log.GetSink()), &once{c}).Run(ctx) }()
	select {
	case <-complete:
	case err := <-done:
		t.Fatalf("the proxy ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the table is not complete")
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// once is a source that tells everything and then nothing more.
type once struct{ *Cluster }

func (o *once) Run(ctx context.Context, sink source.Sink) error {
	u := model.Update{
		Services: map[model.ServiceName]*model.Service{}, Slices: map[model.SliceName]*model.EndpointSlice{},
		Node: &o.Node, ServiceCIDRs: &o.ServiceCIDRs, HostAddrs: &o.HostAddrs,
	}
	for _, s := range o.Services {
		u.Services[s.Name] = s
	}
	for _, s := range o.Slices {
		u.Slices[s.Name] = s
	}
	sink.Apply(u)
	sink.Synced()
	<-ctx.Done()
	return nil
}

// watchMark counts packets that leave node-a with the mark still on them.
func watchMark(t *testing.T, l *laboratory, mark uint32) {
	t.Helper()
	err := l.Host("node-a").LoadNFT(fmt.Sprintf(`
table inet marked
delete table inet marked
table inet marked {
	chain leaving {
		type filter hook postrouting priority 200
		meta mark & %#x != 0 counter
	}
}`, mark))
	if err != nil {
		t.Fatal(err)
	}
}

func checkMark(t *testing.T, l *laboratory) {
	t.Helper()
	out, err := l.Host("node-a").Run("nft", "list", "table", "inet", "marked")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "packets 0 ") {
		t.Errorf("packets left node-a with the mark: %s", out)
	}
}
