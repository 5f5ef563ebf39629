package charts

import (
	"errors"
	"flag"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

const chartDir = "kube-vmap"

var update = flag.Bool("update", false, "rewrite golden files and what is generated")

// rendering is what Helm makes of the chart with some values.
type rendering struct {
	Notes     string
	Manifests string // in the order of the files' names
}

// render renders as `helm install kube-vmap charts/kube-vmap -n kube-system -f values` does,
// in a cluster that knows ProxyConfigs.
func render(values map[string]any) (*rendering, error) {
	capabilities := *common.DefaultCapabilities
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), "kube-vmap.io/v1alpha1/ProxyConfig")
	return renderIn(&capabilities, values)
}

// renderIn renders in a cluster of these capabilities.
func renderIn(capabilities *common.Capabilities, values map[string]any) (*rendering, error) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "kube-vmap", Namespace: "kube-system", IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(chart, values, release, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	r := &rendering{}
	for _, name := range sortedKeys(files) {
		content := strings.TrimSpace(files[name])
		switch {
		case content == "" || strings.HasSuffix(name, ".tpl"):
		case path.Base(name) == "NOTES.txt":
			r.Notes = content + "\n"
		default:
			r.Manifests += "---\n# Source: " + name + "\n" + strings.TrimPrefix(content, "---\n") + "\n"
		}
	}
	return r, nil
}

func mustRender(t *testing.T, values string) *rendering {
	t.Helper()
	r, err := render(parse(t, values))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := sigsyaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// documents cuts manifests into objects.
func (r *rendering) documents(t *testing.T) [][]byte {
	t.Helper()
	var docs [][]byte
	for reader := yaml.NewYAMLReader(newReader(r.Manifests)); ; {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(parse(t, string(doc))) > 0 {
			docs = append(docs, doc)
		}
	}
}

// decode decodes the only object of a kind; a field it does not have is an error.
func decode[T any](t *testing.T, r *rendering, kind string) *T {
	t.Helper()
	var found []*T
	for _, doc := range r.documents(t) {
		if parse(t, string(doc))["kind"] != kind {
			continue
		}
		object := new(T)
		if err := sigsyaml.UnmarshalStrict(doc, object); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		found = append(found, object)
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of kind %s", len(found), kind)
	}
	return found[0]
}

// cases are the values in testdata, by name.
func cases(t *testing.T) map[string]string {
	t.Helper()
	const suffix = ".values.yaml"
	paths, err := filepath.Glob("testdata/*" + suffix)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no values in testdata: %v", err)
	}
	found := map[string]string{}
	for _, p := range paths {
		found[strings.TrimSuffix(filepath.Base(p), suffix)] = read(t, p)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
