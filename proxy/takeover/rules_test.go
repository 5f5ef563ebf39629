package takeover_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// mode is how an old kube-proxy programs the kernel.
type mode string

const (
	nftables       mode = "nftables"
	iptablesNFT    mode = "iptables-nft"
	iptablesLegacy mode = "iptables-legacy"
)

var modes = []mode{nftables, iptablesNFT, iptablesLegacy}

// services are two Services of an old kube-proxy on node-a, in one family: web
// (TCP; cluster IP, node port 30080, load balancer) and dns (UDP; cluster IP).
type services struct {
	Family, AddrType          string
	WebIP, VIP, DNSIP, NoneIP netip.Addr
	NodeIP                    netip.Addr
	PodCIDR                   netip.Prefix
	Web, DNS                  []netip.AddrPort // backends
}

const (
	webPort = 8080
	dnsPort = 8053
)

// oldServices have a backend on each node: a1 and b1.
func oldServices() []services {
	list := []services{{
		Family: "ip", AddrType: "ipv4_addr",
		WebIP: netip.MustParseAddr("10.96.0.10"), VIP: netip.MustParseAddr("203.0.113.10"),
		DNSIP: netip.MustParseAddr("10.96.0.53"), NoneIP: netip.MustParseAddr("10.96.0.99"),
		NodeIP: netip.MustParseAddr("192.0.2.10"), PodCIDR: netip.MustParsePrefix("10.244.0.0/24"),
	}, {
		Family: "ip6", AddrType: "ipv6_addr",
		WebIP: netip.MustParseAddr("fd00:10:96::10"), VIP: netip.MustParseAddr("2001:db8:113::10"),
		DNSIP: netip.MustParseAddr("fd00:10:96::53"), NoneIP: netip.MustParseAddr("fd00:10:96::99"),
		NodeIP: netip.MustParseAddr("2001:db8:2::10"), PodCIDR: netip.MustParsePrefix("fd00:10:244::/64"),
	}}
	pods := [][]netip.Addr{testnet.Addrs("10.244.0.11", "10.244.1.11"), testnet.Addrs("fd00:10:244::11", "fd00:10:244:1::11")}
	for i := range list {
		for _, a := range pods[i] {
			list[i].Web = append(list[i].Web, netip.AddrPortFrom(a, webPort))
			list[i].DNS = append(list[i].DNS, netip.AddrPortFrom(a, dnsPort))
		}
	}
	return list
}

// load programs the Services as kube-proxy does in a mode.
func (s *services) load(t *testing.T, m mode) {
	t.Helper()
	file := "testdata/iptables.tmpl"
	if m == nftables {
		file = "testdata/nftables.tmpl"
	}
	var rules bytes.Buffer
	if err := template.Must(template.ParseFiles(file)).Execute(&rules, s); err != nil {
		t.Fatal(err)
	}
	if m == nftables {
		run(t, rules.String(), "nft", "-f", "-")
		return
	}
	run(t, rules.String(), m.program(s.Family, "restore"), "--noflush", "--counters")
}

// program is the name of an iptables program for a family: ip6tables-nft-save.
func (m mode) program(family, name string) string {
	return strings.Replace(string(m), "ip", family, 1) + "-" + name
}

// save is everything that could change, without the dates.
func (m mode) save(t *testing.T) string {
	t.Helper()
	out := run(t, "", "nft", "--stateless", "list", "ruleset")
	if m != nftables {
		out = run(t, "", m.program("ip", "save"), "--counters") + run(t, "", m.program("ip6", "save"), "--counters")
	}
	return regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(out, "")
}

// run runs a program in the namespace of the calling thread.
func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("run %s %s (make setup installs it): %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

// loadBystanders programs what is not kube-proxy's and must stay: a kubelet's
// chains, and others that look similar.
func loadBystanders(t *testing.T, m mode) {
	t.Helper()
	if m == nftables {
		run(t, "table inet kube-proxy {\n}\ntable ip kube-proxy-2 {\n chain KUBE-SERVICES {\n }\n}\n", "nft", "-f", "-")
		return
	}
	rules, err := os.ReadFile("testdata/bystanders.rules")
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"ip", "ip6"} {
		run(t, string(rules), m.program(family, "restore"), "--counters")
	}
}

// leftovers are what Clean finds after load, in no order.
func (s *services) leftovers(m mode) []string {
	if m == nftables {
		return []string{fmt.Sprintf("table %s kube-proxy", s.Family)}
	}
	var list []string
	add := func(kind, table, what string) {
		if m == iptablesLegacy {
			table += " (iptables-legacy)"
		}
		list = append(list, fmt.Sprintf("%s %s %s %s", kind, s.Family, table, what))
	}
	for table, names := range map[string][]string{
		"mangle": {"KUBE-PROXY-CANARY"},
		"filter": {"KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-CANARY", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"},
		"nat": {"KUBE-EXT-OLDWEB", "KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-PROXY-CANARY", "KUBE-SEP-OLDDNS0",
			"KUBE-SEP-OLDDNS1", "KUBE-SEP-OLDWEB0", "KUBE-SEP-OLDWEB1", "KUBE-SERVICES", "KUBE-SVC-OLDDNS", "KUBE-SVC-OLDWEB"},
	} {
		for _, name := range names {
			add("chain", table, name)
		}
	}
	for jump, names := range map[string][]string{
		"filter INPUT":    {"KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"},
		"filter FORWARD":  {"KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"},
		"filter OUTPUT":   {"KUBE-SERVICES", "KUBE-PROXY-FIREWALL"},
		"nat PREROUTING":  {"KUBE-SERVICES"},
		"nat OUTPUT":      {"KUBE-SERVICES"},
		"nat POSTROUTING": {"KUBE-POSTROUTING"},
	} {
		table, chain, _ := strings.Cut(jump, " ")
		for _, name := range names {
			add("rule", table, chain+": jump "+name)
		}
	}
	slices.Sort(list)
	return list
}
