package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each testdata/kubeproxy/*.yaml is a configuration of kube-proxy; beside it lies
// what becomes of it, with the notes as comments.
func TestFromKubeProxy(t *testing.T) {
	paths, err := filepath.Glob("testdata/kubeproxy/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o, notes, err := FromKubeProxy(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var got bytes.Buffer
		for _, n := range notes {
			got.WriteString("# " + n.String() + "\n")
		}
		if err := Write(&got, o); err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (go test -update rewrites it):\n%s", golden, diff)
		}
		if _, err := ReadFile(got.Bytes()); err != nil {
			t.Errorf("%s: what was made of it can't be read: %v", path, err)
		}
	}
}

func TestFromKubeProxyRefuses(t *testing.T) {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	for text, want := range map[string]string{
		"":                              "it is empty",
		"\x00":                          "read YAML",
		"hello":                         "read YAML",
		"kind: Pod":                     "kind Pod: must be kubeproxy.config.k8s.io/v1alpha1, KubeProxyConfiguration",
		"kind: ConfigMap\ndata: {}":     "a ConfigMap without kube-proxy's configuration",
		head + "conntrack: {min: many}": "conntrack.min: many is no number",
		head + "conntrack: {min: 1.5}":  "conntrack.min: 1.5 is no whole number",
		head + "conntrack: {udpTimeout: 5 minutes}":            `conntrack.udpTimeout: "5 minutes" is no time`,
		head + "clusterCIDR: everywhere":                       `spec.detectLocal.clusterCIDRs`,
		head + "detectLocalMode: Guess":                        "spec.detectLocal.mode",
		head + "detectLocalMode: BridgeInterface":              "needs bridgeInterface",
		head + "nodePortAddresses: eth0":                       "nodePortAddresses: eth0 is no list",
		head + "nodePortAddresses: [eth0]":                     `"eth0" is no prefix`,
		head + "mode: nftables\nnftables: {masqueradeBit: 77}": "spec.masqueradeBit",
	} {
		_, _, err := FromKubeProxy([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %q", text, err, want)
		}
	}
}
