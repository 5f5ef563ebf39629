package oracle

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// flow is one thing to try.
type flow struct {
	from     string
	to       netip.AddrPort
	protocol model.Protocol
	about    string
	// otherwise is the outcome if the packet is no Service's concern.
	otherwise testnet.OutcomeKind
}

func (f flow) String() string {
	return fmt.Sprintf("%s -> %s/%s (%s)", f.from, f.to, f.protocol, f.about)
}

// sources are the kinds of clients: another pod of the node, a pod elsewhere, a
// process of the node, a client outside, and the local backend itself.
var sources = []string{"a2", "b2", "node-a", "client", "a1"}

// flows are all things to try: every source to every frontend of every Service,
// and what is beside them.
func flows(services []*model.Service, about map[model.ServiceName]string) []flow {
	var list []flow
	for _, s := range services {
		from := sources
		if strings.HasPrefix(about[s.Name], "remote") || strings.HasPrefix(about[s.Name], "both") {
			from = append(from[:len(from):len(from)], "b1") // the remote backend itself
		}
		for _, to := range frontends(s) {
			for _, source := range from {
				to.from, to.about = source, to.about+", "+about[s.Name]
				list = append(list, to)
				to.about, _, _ = strings.Cut(to.about, ", ")
			}
		}
	}
	return append(list, beside()...)
}

// frontends are the destinations by which a Service is called.
func frontends(s *model.Service) []flow {
	var list []flow
	for _, p := range s.Ports {
		add := func(kind model.FrontendKind, port uint16, addrs []netip.Addr) {
			for _, a := range addrs {
				f := flow{to: netip.AddrPortFrom(a, port), protocol: p.Protocol, about: fmt.Sprintf("%s %s", s.Name.Name, kind)}
				f.otherwise = testnet.Refused
				if p.Protocol == model.SCTP { // the servers' raw sockets take all, and refuse nothing
					f.otherwise = testnet.Silent
				}
				list = append(list, f)
			}
		}
		add(model.ClusterIP, p.Port, s.ClusterIPs)
		add(model.ExternalIP, p.Port, s.ExternalIPs)
		add(model.LoadBalancerIP, p.Port, s.LoadBalancerIPs)
		add(model.NodePort, p.NodePort, testnet.Addrs("192.0.2.10", "2001:db8:2::10"))
	}
	return list
}

// beside are destinations that are no frontends, or not in every configuration.
func beside() []flow {
	var list []flow
	add := func(about string, otherwise testnet.OutcomeKind, protocols []model.Protocol, from []string, to ...string) {
		for _, dst := range to {
			for _, source := range from {
				for _, p := range protocols {
					list = append(list, flow{source, netip.MustParseAddrPort(dst), p, about, otherwise})
				}
			}
		}
	}
	tcpUDP, tcp := []model.Protocol{model.TCP, model.UDP}, []model.Protocol{model.TCP}
	add("an unused port of a cluster IP", 0, allProtocols, sources, "10.96.0.1:81", "[fd00:10:96::1]:81")
	add("another protocol of a cluster IP", 0, []model.Protocol{icmp}, sources, "10.96.0.1:0", "[fd00:10:96::1]:0")
	add("an address that no service has", 0, allProtocols, sources, "10.96.0.254:80", "[fd00:10:96::fe]:80")
	add("an address that no service has", 0, []model.Protocol{icmp}, sources, "10.96.0.254:0", "[fd00:10:96::fe]:0")
	add("a node port on another address of the node", testnet.Refused, tcpUDP, []string{"a2", "a1", "b2", "node-a"},
		"10.244.0.1:30001", "[fd00:10:244::1]:30001")
	add("a node port on a loopback address", testnet.Refused, tcp, []string{"node-a"}, "127.0.0.1:30001", "127.0.0.5:30001", "[::1]:30001")
	add("a port of the node that is no node port", testnet.Refused, tcpUDP, sources, "192.0.2.10:29999", "[2001:db8:2::10]:29999")
	add("a backend, directly", testnet.Answered, tcpUDP, []string{"a2", "b2", "node-a", "client"}, "10.244.0.11:8080", "[fd00:10:244:1::11]:8080")
	return list
}

// ports gives each attempt a source port that none of the laboratory had before,
// so that no entry of connection tracking is met twice.
type ports struct {
	mu   sync.Mutex
	next map[string]uint16
}

func newPorts() *ports { return &ports{next: map[string]uint16{}} }

func (p *ports) take(host string) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	const first, last = 10000, 29000 // beside servers and node ports
	n := p.next[host]
	p.next[host]++
	return first + n%(last-first)
}

// icmp stands for the protocols without ports.
const icmp model.Protocol = 0

// pair is two hosts, between which one attempt with raw sockets is made at a
// time: a raw socket hears the ICMP errors of all.
type pair struct {
	from string
	to   netip.Addr
}

// probe makes one attempt, and returns the source it has on the wire.
func (l *laboratory) probe(f flow, timeout time.Duration) (testnet.Outcome, netip.AddrPort) {
	if f.protocol == icmp || f.protocol == model.SCTP {
		lock, _ := l.raw.LoadOrStore(pair{f.from, f.to.Addr()}, &sync.Mutex{})
		lock.(*sync.Mutex).Lock()
		defer lock.(*sync.Mutex).Unlock()
	}
	if f.protocol == icmp {
		return ping(l.Host(f.from), f.to.Addr(), timeout), netip.AddrPort{}
	}
	for {
		port := l.ports.take(f.from)
		o := l.Host(f.from).ProbeWith(f.protocol, f.to, testnet.ProbeOptions{Source: netip.AddrPortFrom(netip.Addr{}, port), Timeout: timeout})
		if errors.Is(o.Err, unix.ENOPROTOOPT) {
			// Someone's raw socket was closed already when a server answered: an ICMP
			// error that has nothing to do with this attempt.
			continue
		}
		return o, netip.AddrPortFrom(l.packet(f).Source, port)
	}
}
