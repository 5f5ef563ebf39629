package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// The stage, as examples/demo describes it.
const (
	nodeName = "demo-node"
	service  = "shop/web"
	leaver   = "web-3" // the backend that leaves and comes back
	webPort  = 8080
)

var topology = testnet.Topology{
	Gateways: testnet.Prefixes("192.0.2.1/24", "2001:db8:2::1/64", "198.51.100.1/24", "2001:db8:100::1/64"),
	Nodes: []testnet.Node{{
		Name:     nodeName,
		Addrs:    testnet.Prefixes("192.0.2.10/24", "2001:db8:2::10/64"),
		PodCIDRs: testnet.Prefixes("10.244.0.0/24", "fd00:10:244::/64"),
		Pods: []testnet.Pod{
			{Name: "web-1", Addrs: testnet.Addrs("10.244.0.11", "fd00:10:244::11")},
			{Name: "web-2", Addrs: testnet.Addrs("10.244.0.12", "fd00:10:244::12")},
			{Name: "web-3", Addrs: testnet.Addrs("10.244.0.13", "fd00:10:244::13")},
			{Name: "pod", Addrs: testnet.Addrs("10.244.0.99", "fd00:10:244::99")},
		},
	}},
	Clients: []testnet.Client{{Name: "client", Addrs: testnet.Prefixes("198.51.100.10/24", "2001:db8:100::10/64")}},
}

var backends = []string{"web-1", "web-2", "web-3"}

// stage is what the steps act on.
type stage struct {
	*printer
	options options
	lab     *testnet.Lab
	node    *testnet.Host
	conn    *kernel.Conn // reads the node's tables
	dir     string       // temporary
	files   *manifests
	agent   *agent
	servers map[string]*testnet.Server

	ownership string // of the table, as the agent's flag has it
	failed    uint64 // requests, in all steps
	written   uint64 // elements, rules, chains and sets, at restarts
}

func newStage(o options, p *printer) (s *stage, err error) {
	s = &stage{printer: p, options: o, servers: map[string]*testnet.Server{}, ownership: "auto"}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lab, err = testnet.Build(topology); err != nil {
		return s, fmt.Errorf("network namespaces are missing: %w", err)
	}
	s.node = s.lab.Host(nodeName)
	if s.conn, err = kernel.Dial(kernel.Options{NetNS: s.node.FD()}); err != nil {
		return s, fmt.Errorf("nf_tables is missing in this kernel: %w", err)
	}
	for _, name := range backends {
		if err := s.serve(name); err != nil {
			return s, err
		}
	}
	if s.dir, err = os.MkdirTemp("", "kube-vmap-demo-"); err != nil {
		return s, err
	}
	if s.files, err = copyManifests(o.manifests, filepath.Join(s.dir, "manifests")); err != nil {
		return s, err
	}
	s.block(`client  198.51.100.10          2001:db8:100::10       outside the cluster
node    192.0.2.10             2001:db8:2::10         runs kube-vmap and nothing else
web-1   10.244.0.11            fd00:10:244::11        a real HTTP server each
web-2   10.244.0.12            fd00:10:244::12
web-3   10.244.0.13            fd00:10:244::13
pod     10.244.0.99            fd00:10:244::99        a client inside the cluster`)
	return s, nil
}

// serve starts a backend.
func (s *stage) serve(name string) (err error) {
	s.servers[name], err = s.lab.Host(name).ServeHTTP(webPort)
	return err
}

// close ends all processes and removes what was made.
func (s *stage) close() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// verdict is the last line.
func (s *stage) verdict() error {
	s.heading("Done")
	if s.options.restart {
		s.zero("writes at restart", s.written)
	}
	s.zero("failed requests", s.failed)
	if s.failed > 0 {
		return fmt.Errorf("%d requests failed", s.failed)
	}
	if s.written > 0 {
		return fmt.Errorf("a restart wrote %d elements, rules, chains and sets", s.written)
	}
	return nil
}

// kubevmap runs a subcommand of the agent's binary on the node.
func (s *stage) kubevmap(args ...string) (string, error) {
	return s.node.Run(s.options.binary, args...)
}

// way is a way into the service.
type way struct {
	from  *testnet.Host
	to    netip.AddrPort
	title string
}

// ways finds the frontends of the service that the kernel serves: cluster IPs
// for the pod, node ports for the client.
func (s *stage) ways() ([]way, error) {
	frontends, err := s.frontends()
	if err != nil {
		return nil, err
	}
	var ways []way
	for _, f := range frontends {
		from := s.lab.Host("pod")
		if f.Kind.IsExternal() {
			from = s.lab.Host("client")
		}
		to := netip.AddrPortFrom(f.Key.Addr, f.Key.Port)
		ways = append(ways, way{from, to, fmt.Sprintf("%-6s → %-9s %s", from.Name(), f.Kind, to)})
	}
	if len(ways) == 0 {
		return nil, fmt.Errorf("the kernel serves no frontend of %s: the agent's log ends with %q", service, s.agent.lastLine())
	}
	return ways, nil
}
