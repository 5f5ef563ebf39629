package main

import (
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// TestCleanupKubeProxy: one line per thing, nothing in a dry run, and kube-vmap's
// own table stays.
func TestCleanupKubeProxy(t *testing.T) {
	ns := kerneltest.Namespace(t)
	ns.NftLoad(t, "table inet kube-vmap {\n}\ntable ip kube-proxy {\n}\ntable ip6 kube-proxy {\n}\n")
	for _, step := range []struct{ args, want, left string }{
		{"--kube-proxy --dry-run", "would remove table ip kube-proxy\nwould remove table ip6 kube-proxy\n", "inet kube-vmap, ip kube-proxy, ip6 kube-proxy"},
		{"--kube-proxy", "removed table ip kube-proxy\nremoved table ip6 kube-proxy\n", "inet kube-vmap"},
		{"--kube-proxy", "nothing of kube-proxy is there\n", "inet kube-vmap"},
		{"--dry-run", "would remove table inet kube-vmap\n", "inet kube-vmap"},
		{"", "table inet kube-vmap removed\n", ""},
		{"--dry-run", "table inet kube-vmap is not there\n", ""},
	} {
		ns.Do(t, func() {
			out, err := execCommand(t.Context(), append([]string{"cleanup"}, strings.Fields(step.args)...)...)
			if err != nil || out != step.want {
				t.Errorf("cleanup %s: %v\n%s\nwant\n%s", step.args, err, out, step.want)
			}
		})
		var tables []string
		for line := range strings.Lines(ns.Nft(t, "list", "tables")) {
			tables = append(tables, strings.TrimPrefix(strings.TrimSpace(line), "table "))
		}
		if left := strings.Join(tables, ", "); left != step.left {
			t.Errorf("cleanup %s left %s, want %s", step.args, left, step.left)
		}
	}
}
