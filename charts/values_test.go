package charts

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Each refusal names the value and says what is wrong in words.
func TestBadValuesAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"tolerationz: []":                                       "additional properties 'tolerationz' not allowed",
		"image: {repo: x}":                                      "at '/image': additional properties 'repo' not allowed",
		"masqueradeBit: 40":                                     "at '/masqueradeBit': maximum: got 40, want 31",
		"masqueradeAll: 'yes please'":                           "at '/masqueradeAll': got string, want boolean",
		"tableOwnership: maybe":                                 "at '/tableOwnership': value must be one of 'auto', 'on', 'off'",
		"detectLocal: {mode: Magic}":                            "at '/detectLocal/mode': value must be one of 'ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'",
		"detectLocal: {clusterCIDRs: 10.244.0.0/16}":            "at '/detectLocal/clusterCIDRs': got string, want array",
		"detectLocal: {clusterCIDRs: [10.244.0.0]}":             `detectLocal.clusterCIDRs: "10.244.0.0" is no prefix such as 10.244.0.0/16`,
		"detectLocal: {clusterCIDRs: ['fd00::/129']}":           `detectLocal.clusterCIDRs: "fd00::/129" is no prefix`,
		"detectLocal: {mode: BridgeInterface}":                  "set detectLocal.bridgeInterface to the name of the pods' bridge",
		"detectLocal: {mode: InterfaceNamePrefix}":              "set detectLocal.interfaceNamePrefix",
		"detectLocal: {bridgeInterface: cni0}":                  "detectLocal.bridgeInterface: it is of no use in mode ClusterCIDR",
		"detectLocal: {interfaceNamePrefix: veth}":              "detectLocal.interfaceNamePrefix: it is of no use in mode ClusterCIDR",
		"detectLocal: {mode: NodeCIDR, clusterCIDRs: ['::/0']}": "detectLocal.clusterCIDRs: they are of no use in mode NodeCIDR",
		"nodePortAddresses: []":                                 "at '/nodePortAddresses': minItems: got 0, want 1",
		"nodePortAddresses: [primary, 10.0.0.0/8]":              "nodePortAddresses: primary stands alone",
		"nodePortAddresses: [eth0]":                             `nodePortAddresses: "eth0" is no prefix`,
		"coalesce: 5 seconds":                                   `coalesce: "5 seconds" is no time from 0s to 1s, such as 5ms`,
		"coalesce: 2s":                                          `coalesce: "2s" is no time from 0s to 1s`,
		"conntrack: {udpTimeout: 30}":                           "at '/conntrack/udpTimeout': got number, want string",
		"conntrack: {udpTimeout: '30'}":                         `conntrack.udpTimeout: "30" is no time such as 30s`,
		"logging: {format: xml}":                                "at '/logging/format': value must be one of 'text', 'json'",
		"healthz: {port: 99999}":                                "at '/healthz/port': maximum: got 99,999, want 65,535",
		"metrics: {port: 10256}":                                "metrics.port: 10256 is healthz.port",
		"podMonitor: {enabled: true}":                           "podMonitor.enabled: Prometheus can't reach 127.0.0.1 on the nodes. Set metrics.bindAddress",
		"updateStrategy: {rollingUpdate: {maxSurge: 1}}":        "updateStrategy.rollingUpdate.maxSurge: must be 0. Two agents can't share the ports of a node",
		"updateStrategy: {type: OnDelete}":                      "updateStrategy.type is OnDelete: set updateStrategy.rollingUpdate to null",
		"apiServer: {host: 'https://api.example:6443'}":         `apiServer.host: "https://api.example:6443" is no name or IP address. Leave out https://`,
		"apiServer: {host: 'api.example:6443'}":                 "put the port into apiServer.port",
		"image: {digest: latest}":                               `image.digest: "latest" is no digest`,
		"image: {repository: 'registry.example/a:v1'}":          `image.repository: "registry.example/a:v1" has a tag or digest`,
		"coalesce: 500us":                                       `coalesce: "500us" is no time from 0s to 1s`,
		"externalIPs: [all, 203.0.113.0/24]":                    "externalIPs: all and none stand alone",
		"externalIPs: [some]":                                   `externalIPs: "some" is no prefix`,
		"detectLocal: {clusterCIDRs: ['::ffff:10.0.0.0/104']}":  `detectLocal.clusterCIDRs: "::ffff:10.0.0.0/104" is no prefix`,
		"counters: off":                                         "at '/counters': value must be one of 'None', 'Services', 'Endpoints'",
	} {
		t.Run(values, func(t *testing.T) {
			_, err := render(parse(t, values))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v\nwant %q", err, want)
			}
		})
	}
}

func TestUnusualValuesAreTaken(t *testing.T) {
	for _, values := range []string{
		"tableOwnership: off # a boolean, in YAML",
		"image: {repository: 'localhost:5000/kube-vmap', tag: v1}",
		"image: {digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}",
		"apiServer: {host: 'fd00::1'}",
		"detectLocal: {clusterCIDRs: [10.244.0.0/16, 'fd00:10:244::/56']}",
		"nodePortAddresses: [0.0.0.0/0, '::/0']",
		"conntrack: {tcpEstablishedTimeout: 1h30m, udpTimeout: 0s}",
		"updateStrategy: {type: OnDelete, rollingUpdate: null}",
		"updateStrategy: {rollingUpdate: {maxUnavailable: 10%, maxSurge: 0}}",
		"podMonitor: {enabled: true}\nmetrics: {bindAddress: 0.0.0.0}",
		"global: {of: a parent chart}",
	} {
		if _, err := render(parse(t, values)); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// value is a value of values.yaml with its comment.
type value struct {
	Path, Default, Comment string
}

// listValues lists the values that have a comment beginning with "# --"; those
// above them are only their headings.
func listValues(t *testing.T) []value {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, "kube-vmap/values.yaml")), &root); err != nil {
		t.Fatal(err)
	}
	var list []value
	var walk func(prefix string, node *yaml.Node)
	walk = func(prefix string, node *yaml.Node) {
		for i := 0; i < len(node.Content); i += 2 {
			key, content := node.Content[i], node.Content[i+1]
			path := prefix + key.Value
			// What stands above an empty line is about what follows, not about this value.
			comment := key.HeadComment[strings.LastIndex(key.HeadComment, "\n\n")+1:]
			switch {
			case strings.Contains(comment, "# -- "):
				list = append(list, value{path, defaultOf(t, content), describe(comment)})
			case content.Kind == yaml.MappingNode && len(content.Content) > 0:
				walk(path+".", content)
			default:
				t.Errorf("%s: no comment that begins with \"# --\"", path)
			}
		}
	}
	walk("", root.Content[0])
	return list
}

func describe(comment string) string {
	_, text, _ := strings.Cut(comment, "# -- ")
	var words []string
	for line := range strings.Lines(text) {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	return strings.Join(words, " ")
}

func defaultOf(t *testing.T, node *yaml.Node) string {
	t.Helper()
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const tableBegin, tableEnd = "<!-- values: written by go test -update -->\n", "<!-- end of values -->"

// The README's table says what values.yaml says.
func TestReadmeListsAllValues(t *testing.T) {
	const path = "kube-vmap/README.md"
	have := read(t, path)
	before, rest, ok1 := strings.Cut(have, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no place for the table", path)
	}
	var table strings.Builder
	table.WriteString("| value | default | meaning |\n|---|---|---|\n")
	for _, v := range listValues(t) {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.Path, v.Default, strings.ReplaceAll(v.Comment, "|", "\\|"))
	}
	want := before + tableBegin + table.String() + tableEnd + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s (go test -update rewrites it):\n%s", path, diff)
	}
}

// schema is what the test looks at of a JSON schema.
type schema struct {
	Properties           map[string]*schema
	AdditionalProperties any
	OneOf                []*schema
}

// Every value has a schema, and every schema a value; only "global" is Helm's, and
// some values that are null or absent by default have more than values.yaml shows.
func TestSchemaKnowsExactlyTheValues(t *testing.T) {
	var root schema
	if err := json.Unmarshal([]byte(read(t, "kube-vmap/values.schema.json")), &root); err != nil {
		t.Fatal(err)
	}
	optional := map[string]bool{"global": true, "readinessProbe.initialDelaySeconds": true}
	var compare func(prefix string, s *schema, values map[string]any)
	compare = func(prefix string, s *schema, values map[string]any) {
		if s.AdditionalProperties != false {
			t.Errorf("%s: unknown values are not refused", prefix)
		}
		for key, v := range values {
			path := prefix + key
			sub, ok := s.Properties[key]
			if !ok {
				t.Errorf("%s: the schema does not know it", path)
				continue
			}
			if inner, ok := v.(map[string]any); ok && sub.Properties != nil {
				compare(path+".", sub, inner)
			}
		}
		for key := range s.Properties {
			if _, ok := values[key]; !ok && !optional[prefix+key] {
				t.Errorf("%s: only the schema knows it", prefix+key)
			}
		}
	}
	compare("", &root, parse(t, read(t, "kube-vmap/values.yaml")))
}
