package config

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/configuration.md")

// example is one document of testdata/proxyconfigs.yaml.
type example struct {
	text    string
	refused string // empty: it is good
}

func examples(t *testing.T) []example {
	t.Helper()
	data, err := os.ReadFile("testdata/proxyconfigs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list []example
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		e := example{text: doc}
		for line := range strings.Lines(doc) {
			if text, ok := strings.CutPrefix(line, "# refused: "); ok {
				e.refused = strings.TrimSpace(text)
			}
		}
		list = append(list, e)
	}
	return list
}

// says reports whether an error says what is expected: the field, and what is wrong
// with it, with the value between them.
func says(err error, want string) bool {
	path, detail, _ := strings.Cut(want, ": ")
	return err != nil && strings.Contains(err.Error(), path) && strings.Contains(err.Error(), detail)
}

func read(text string) (*v1alpha1.ProxyConfig, error) {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	o, unknown, err := Decode(raw)
	if err == nil {
		err = errors.Join(unknown...)
	}
	if err != nil {
		return nil, err
	}
	return o, Validate(o).ToAggregate()
}

func TestValidate(t *testing.T) {
	good, bad := 0, 0
	for _, e := range examples(t) {
		_, err := read(e.text)
		if e.refused == "" {
			good++
			if err != nil {
				t.Errorf("%s\nrefused: %v", e.text, err)
			}
			continue
		}
		bad++
		if !says(err, e.refused) {
			t.Errorf("%s\nrefused by: %v", e.text, err)
		}
	}
	if good < 5 || bad < 30 {
		t.Errorf("%d good and %d bad examples", good, bad)
	}
}

func TestReadFile(t *testing.T) {
	const head = "apiVersion: kube-vmap.io/v1alpha1\nkind: ProxyConfig\n"
	for _, text := range []string{
		head + "spec: {coalesce: 5ms}",
		"# a comment\n---\n" + head + "metadata: {name: default}\nspec: {}\n---\n# nothing\n",
		`{"apiVersion": "kube-vmap.io/v1alpha1", "kind": "ProxyConfig", "spec": {}}`,
	} {
		if o, err := ReadFile([]byte(text)); err != nil || o.Name != "default" {
			t.Errorf("%s\n%v", text, err)
		}
	}
	for text, want := range map[string]string{
		"":                 "it is empty",
		"# nothing\n---\n": "it is empty",
		"\x00":             "read YAML",
		"a: [":             "read YAML",
		"- a":              "the document: is a array",
		"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1": `must be kube-vmap.io/v1alpha1, ProxyConfig`,
		head + "spec: {}\n---\n" + head + "spec: {}":                                 "2 YAML documents",
		head + "spec: {coalesce: 5ms, coalesce: 6ms}":                                `key "coalesce" already set`,
		head + "metadata: {name: gpu}\nspec: {nodeSelector: {a: b}}":                 "for this node alone",
		head + "spec: {nodeSelector: {a: b}}":                                        "leave the selector out",
		head + "spec: {coalesce: 5}":                                                 "spec.coalesce",
		head + "spec: {coalescing: 5ms}":                                             `unknown field "spec.coalescing"`,
	} {
		if _, err := ReadFile([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q\n%v\nwant %q", text, err, want)
		}
	}
}
