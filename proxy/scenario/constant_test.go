package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy"
)

// variant is a configuration whose constant part of the table has a golden file
// in testdata/tables. The file default.nft holds the whole table of an empty
// cluster; the others hold what differs from it.
type variant struct {
	name    string
	config  string // as the section of that name
	objects string // beside the cluster's
}

var variants = []variant{
	{name: "default"},
	{name: "several-cluster-cidrs", config: "clusterCIDR: [10.244.0.0/16, 10.200.0.0/16, 'fd00:10:244::/48', 'fd00:10:200::/48']"},
	{name: "node-cidr", config: "detectLocalMode: NodeCIDR"},
	{name: "bridge-interface", config: "{detectLocalMode: BridgeInterface, podBridgeInterface: cni0}"},
	{name: "interface-name-prefix", config: "{detectLocalMode: InterfaceNamePrefix, podInterfaceNamePrefix: veth}"},
	{name: "no-way-to-tell-pods", config: "clusterCIDR: []"},
	{name: "masquerade-all", config: "masqueradeAll: true"},
	{name: "masquerade-bit-0", config: "masqueradeBit: 0"},
	{name: "ipv4-only", config: "families: [IPv4]"},
	{name: "ipv6-only", config: "families: [IPv6]"},
	{name: "chains-made-on-demand", objects: stickyLocalService},
}

// stickyLocalService needs one chain of each kind.
const stickyLocalService = `
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  ports:
  - {name: http, port: 80, nodePort: 30080}
`

// TestConstantTable holds what is not a Service's in the table, which no scenario
// shows, to golden files.
func TestConstantTable(t *testing.T) {
	var standard []string
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			text := v.render(t)
			kerneltest.Namespace(t).NftLoad(t, text)
			if v.name == "default" {
				standard = blocks(text)
			} else {
				text = differences(standard, blocks(text))
			}
			v.golden(t, text)
		})
	}
}

func (v *variant) render(t *testing.T) string {
	t.Helper()
	config := defaultConfig()
	if err := config.parse([]byte(v.config)); err != nil {
		t.Fatal(err)
	}
	objects, err := parseObjects([]byte(v.objects))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(&config, "node-a")
	w.apply(append(clusterObjects(t, nil), objects...)...)
	return proxy.Render(config.proxy("node-a"), w.all).Text()
}

// blocks splits a table's text into its sets and chains.
func blocks(text string) []string {
	text = strings.TrimSuffix(text[strings.IndexByte(text, '\n')+1:], "}\n")
	list := strings.Split(text, "\n\n")
	for i := range list {
		list[i] = strings.TrimSuffix(list[i], "\n") + "\n"
	}
	return list
}

// differences are the blocks that others do not have, and the names of those
// that are missing.
func differences(standard, others []string) string {
	var sb strings.Builder
	for _, b := range others {
		if !slices.Contains(standard, b) {
			sb.WriteString(b)
		}
	}
	for _, b := range standard {
		head, _, _ := strings.Cut(b, "\n")
		if !slices.ContainsFunc(others, func(o string) bool { return strings.HasPrefix(o, head+"\n") }) {
			sb.WriteString("\t# there is no " + strings.TrimSuffix(strings.TrimSpace(head), " {") + "\n")
		}
	}
	return sb.String()
}

func (v *variant) golden(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join("testdata", "tables", v.name+".nft")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read golden: %v; -update writes it", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", path, diff)
	}
}
