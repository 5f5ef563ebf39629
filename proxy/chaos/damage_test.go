package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// damage is something that another process does to the table with nft.
type damage struct {
	name    string
	command func(r *rand.Rand) string
}

// constant is a command that leaves nothing to chance.
func constant(lines ...string) func(*rand.Rand) string {
	return func(*rand.Rand) string { return strings.Join(lines, "\n") }
}

// oneOf picks one of some commands.
func oneOf(lines ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return lines[r.IntN(len(lines))] }
}

// frontends are keys of the services with traffic, by family.
func frontends(v6 bool) []string {
	i := 0
	node := "192.0.2.10"
	if v6 {
		i, node = 1, "2001:db8:2::10"
	}
	return []string{
		webService.clusterIPs()[i] + " . tcp . 80", webService.clusterIPs()[i] + " . udp . 80",
		webService.vips()[i] + " . tcp . 80", stickyService.clusterIPs()[i] + " . tcp . 80",
		fmt.Sprintf("%s . tcp . %d", node, webService.nodePortOf(0)),
	}
}

// element is a command on an element of a service with traffic, in either family.
func element(format string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		suffix, keys := "4", frontends(false)
		if r.IntN(2) == 0 {
			suffix, keys = "6", frontends(true)
		}
		return strings.NewReplacer("#", suffix, "KEY", keys[r.IntN(len(keys))]).Replace(format)
	}
}

// damages are what the adversary does to the table.
var damages = []damage{
	{"nft flush ruleset", constant("flush ruleset")},
	{"table deleted", constant("delete table inet kube-vmap")},
	{"table replaced by another's", constant(
		"delete table inet kube-vmap", "add table inet kube-vmap", "add chain inet kube-vmap mine",
		"add map inet kube-vmap services4 { type ipv4_addr : verdict; }")},
	{"table made dormant", constant("add table inet kube-vmap { flags dormant; }")},
	{"map flushed", oneOf(
		"flush map inet kube-vmap services4", "flush map inet kube-vmap services6", "flush map inet kube-vmap backends4",
		"flush map inet kube-vmap backends6", "flush map inet kube-vmap blocked4", "flush set inet kube-vmap cluster-ips6",
		"flush set inet kube-vmap hairpin4", "flush set inet kube-vmap affinity-ips4", "flush map inet kube-vmap learn4", "flush map inet kube-vmap affinity4")},
	{"verdict deleted", element("delete element inet kube-vmap services# { KEY }")},
	{"slot 0 deleted", element("delete element inet kube-vmap backends# { KEY . 0x00000000 }")},
	{"service blocked", element("add element inet kube-vmap firewalled# { KEY }")},
	{"wrong backend added", func(r *rand.Rand) string {
		return fmt.Sprintf("add element inet kube-vmap backends4 { %s . 0x%08x : 10.244.0.99 . 1 }", frontends(false)[0], 4+r.IntN(60))
	}},
	{"chain flushed", oneOf(
		"flush chain inet kube-vmap services", "flush chain inet kube-vmap lb4-4", "flush chain inet kube-vmap nat-prerouting",
		"flush chain inet kube-vmap nat-postrouting", "flush chain inet kube-vmap mark-for-masquerade", "flush chain inet kube-vmap affinity6-4",
		"flush chain inet kube-vmap learn-affinity", "flush chain inet kube-vmap unserved")},
	{"chain deleted", func(r *rand.Rand) string {
		chain := []string{"nat-prerouting", "nat-output", "nat-postrouting", "filter-forward", "filter-output"}[r.IntN(5)]
		return "flush chain inet kube-vmap " + chain + "\ndelete chain inet kube-vmap " + chain
	}},
	{"rule replaced", func(r *rand.Rand) string {
		chain := []string{"services", "nat-postrouting", "unserved", "firewall"}[r.IntN(4)]
		verdict := []string{"drop", "accept", "counter"}[r.IntN(3)]
		return "flush chain inet kube-vmap " + chain + "\nadd rule inet kube-vmap " + chain + " " + verdict
	}},
	{"rule inserted", oneOf(
		"insert rule inet kube-vmap services accept", "insert rule inet kube-vmap firewall drop",
		"insert rule inet kube-vmap nat-postrouting accept", "insert rule inet kube-vmap unserved drop")},
	{"chain and set added", func(r *rand.Rand) string {
		return fmt.Sprintf("add chain inet kube-vmap stranger-x%d { type nat hook prerouting priority -150; }\n"+
			"add set inet kube-vmap strangers%d { type ipv4_addr; }", r.IntN(100), r.IntN(100))
	}},
}

// foreignTable is a table of another program with many chains, and the commands
// that flush and delete it.
func foreignTable(n, chains int) (add, remove string) {
	var b strings.Builder
	fmt.Fprintf(&b, "table ip foreign-%d {\n", n)
	for i := range chains {
		fmt.Fprintf(&b, "chain c%d { ip daddr 192.168.%d.%d counter accept; }\n", i, i/250%250, i%250)
	}
	fmt.Fprintf(&b, "chain input { type filter hook input priority 10; ip protocol 253 jump c0; }\n}\n")
	return b.String(), fmt.Sprintf("delete table ip foreign-%d\n", n)
}
