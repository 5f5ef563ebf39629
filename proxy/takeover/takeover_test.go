package takeover_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/takeover"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// TestTakeover: new and long-lived connections run through an old kube-proxy;
// kube-vmap starts beside it and has every new connection from then on; the old
// rules are removed. No connection fails. The old rules send web to a1 and b1,
// kube-vmap to a2 and b2, so that each connection says whose it is.
func TestTakeover(t *testing.T) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) {
			lab := newLab(t)
			node := lab.Host("node-a")
			inNamespace(t, node, func() {
				for _, s := range oldServices() {
					s.load(t, m)
				}
			})
			load := startLoad(t, lab)
			load.advance(t, 50)
			load.checkServers(t, "the old rules", "a1", "b1", nil)

			start(t, lab)
			load.advance(t, 2) // connections that began before have ended: one at a time is open
			begin := load.servers()
			load.advance(t, 100)
			load.checkServers(t, "kube-vmap beside the old rules", "a2", "b2", begin)

			inNamespace(t, node, func() {
				removed := clean(t, false)[takeover.Removed]
				t.Logf("removed %d things", len(removed))
				if left := m.save(t); len(removed) == 0 || strings.Contains(left, "KUBE-") || strings.Contains(left, "table ip kube-proxy") {
					t.Errorf("left after %d things were removed:\n%s", len(removed), left)
				}
			})
			load.advance(t, 100)
			load.checkServers(t, "kube-vmap alone", "a2", "b2", begin)
			load.end(t)
		})
	}
}

// newLab is two nodes whose pods serve web and dns, with the Services' addresses
// routed to node-a.
func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	lab := testnet.ForTest(t, testnet.TwoNodes())
	for _, pod := range []string{"a1", "a2", "b1", "b2"} {
		for protocol, port := range map[testnet.Protocol]uint16{testnet.TCP: webPort, testnet.UDP: dnsPort} {
			if _, err := lab.Host(pod).Serve(protocol, port); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range testnet.Prefixes("203.0.113.0/24", "2001:db8:113::/64", "10.96.0.0/16", "fd00:10:96::/112") {
		if err := lab.Route(p, lab.Host("node-a")); err != nil {
			t.Fatal(err)
		}
	}
	return lab
}

func inNamespace(t *testing.T, h *testnet.Host, f func()) {
	t.Helper()
	if err := h.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// load is what clients do all the time.
type load struct {
	cancel context.CancelFunc
	floods map[string]*testnet.Flood
	holds  map[string]*testnet.Hold
}

// startLoad floods web's every frontend, in both families, from outside, a pod and
// the node, and holds conversations with web and dns.
func startLoad(t *testing.T, lab *testnet.Lab) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &load{cancel: cancel, floods: map[string]*testnet.Flood{}, holds: map[string]*testnet.Hold{}}
	for _, s := range oldServices() {
		frontends := map[string]netip.AddrPort{
			"cluster IP":    netip.AddrPortFrom(s.WebIP, 80),
			"load balancer": netip.AddrPortFrom(s.VIP, 80),
			"node port":     netip.AddrPortFrom(s.NodeIP, 30080),
		}
		for _, from := range []string{"client", "a2", "node-a"} {
			for kind, dst := range frontends {
				name := fmt.Sprintf("%s -> %s %s", from, kind, dst)
				l.floods[name] = lab.Host(from).Flood(ctx, testnet.FloodOptions{Dst: dst, Workers: 1, Rate: 100})
				l.hold(t, ctx, lab.Host(from), name, testnet.HoldOptions{Dst: dst, Connections: 5})
			}
			dns := netip.AddrPortFrom(s.DNSIP, 53)
			l.hold(t, ctx, lab.Host(from), fmt.Sprintf("%s -> dns %s", from, dns), testnet.HoldOptions{Protocol: testnet.UDP, Dst: dns, Connections: 5})
		}
	}
	return l
}

func (l *load) hold(t *testing.T, ctx context.Context, from *testnet.Host, name string, o testnet.HoldOptions) {
	t.Helper()
	hold, err := from.Hold(ctx, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	l.holds[name] = hold
}

// advance waits until each flood has opened n more connections, or failed.
func (l *load) advance(t *testing.T, n uint64) {
	t.Helper()
	begin := map[string]uint64{}
	for name, f := range l.floods {
		begin[name] = f.Report().Opened
	}
	deadline := time.Now().Add(30 * time.Second)
	for name, f := range l.floods {
		for f.Report().Opened < begin[name]+n {
			if r := f.Report(); r.Failed > 0 || time.Now().After(deadline) {
				t.Fatalf("%s: %s", name, r)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// servers counts connections of each flood by server.
func (l *load) servers() map[string]map[string]uint64 {
	count := map[string]map[string]uint64{}
	for name, f := range l.floods {
		count[name] = f.Report().Servers
	}
	return count
}

// checkServers checks that both servers, and no others, got connections of each
// flood since begin.
func (l *load) checkServers(t *testing.T, who, a, b string, begin map[string]map[string]uint64) {
	t.Helper()
	for name, servers := range l.servers() {
		for server, n := range servers {
			n -= begin[name][server]
			if expected := server == a || server == b; expected != (n > 0) {
				t.Errorf("%s, %s: %s got %d connections", who, name, server, n)
			}
		}
	}
}

// end ends the load and checks that nothing failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.cancel()
	var opened, pings uint64
	for name, f := range l.floods {
		r := f.Wait()
		opened += r.Opened
		if r.Failed > 0 {
			t.Errorf("%s: %s", name, r)
		}
	}
	for name, h := range l.holds {
		r := h.Wait()
		pings += r.Pings
		if r.Failed > 0 || r.Moved > 0 || r.Pings == 0 {
			t.Errorf("%s: %s", name, r)
		}
	}
	t.Logf("%d connections opened and %d pings in long-lived ones, none failed unless said above", opened, pings)
}

// newServices are what the old rules serve, with other backends of web.
func newServices(lab *testnet.Lab) model.Update {
	web := &model.Service{Name: model.ServiceName{Namespace: "shop", Name: "web"}}
	web.Ports = []model.ServicePort{{Name: "http", Protocol: model.TCP, Port: 80, NodePort: 30080}}
	dns := &model.Service{Name: model.ServiceName{Namespace: "kube-system", Name: "dns"}}
	dns.Ports = []model.ServicePort{{Name: "dns", Protocol: model.UDP, Port: 53}}
	for _, s := range oldServices() {
		web.ClusterIPs, web.LoadBalancerIPs = append(web.ClusterIPs, s.WebIP), append(web.LoadBalancerIPs, s.VIP)
		dns.ClusterIPs = append(dns.ClusterIPs, s.DNSIP)
	}
	slices := []*model.EndpointSlice{newSlice(lab, web, webPort, "a2", "b2"), newSlice(lab, dns, dnsPort, "a1", "b1")}
	cidrs := testnet.Prefixes("10.96.0.0/16", "fd00:10:96::/112")
	return model.Update{
		Services: map[model.ServiceName]*model.Service{web.Name: web, dns.Name: dns},
		Slices:   map[model.SliceName]*model.EndpointSlice{slices[0].Name: slices[0], slices[1].Name: slices[1]},
		Node: &model.Node{
			Name: "node-a", InternalIPs: testnet.Addrs("192.0.2.10", "2001:db8:2::10"),
			PodCIDRs: testnet.Prefixes("10.244.0.0/24", "fd00:10:244::/64"),
		},
		ServiceCIDRs: &cidrs,
	}
}

func newSlice(lab *testnet.Lab, service *model.Service, port uint16, pods ...string) *model.EndpointSlice {
	s := &model.EndpointSlice{
		Name:    model.SliceName{Namespace: service.Name.Namespace, Name: service.Name.Name + "-1"},
		Service: service.Name,
		Ports:   []model.EndpointPort{{Name: service.Ports[0].Name, Protocol: service.Ports[0].Protocol, Port: port}},
	}
	for _, pod := range pods {
		for _, a := range lab.Host(pod).Addrs() {
			s.Endpoints = append(s.Endpoints, model.Endpoint{Addr: a, Node: "node-" + pod[:1], State: model.Ready | model.Serving})
		}
	}
	return s
}
