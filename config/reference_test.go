package config

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	reference   = "../docs/configuration.md"
	definitions = "../charts/kube-vmap/files/crds"
)

// property is one field of a definition's schema.
type property struct {
	Type        string
	Description string
	Default     any
	Enum        []string
	Minimum     *int64
	Maximum     *int64
	Properties  map[string]*property
	Items       *property
	Additional  *property `json:"additionalProperties"`
	Required    []string
	Rules       []struct{ Message, MessageExpression string } `json:"x-kubernetes-validations"`
}

// column is one that kubectl get prints.
type column struct {
	Name, Type, JSONPath string
	Priority             int
}

type definition struct {
	Spec struct {
		Versions []struct {
			Columns []column `json:"additionalPrinterColumns"`
			Schema  struct{ OpenAPIV3Schema property }
		}
	}
}

func load(t *testing.T, resource string) (columns []column, schema *property) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(definitions, "kube-vmap.io_"+resource+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d definition
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Versions[0].Columns, &d.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// The reference is written from the definitions, which are written from the types,
// so it can't drift.
func TestReferenceIsUpToDate(t *testing.T) {
	old, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- written by go test ./config -update -->\n", "<!-- end -->"
	head, rest, ok1 := strings.Cut(string(old), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no place for the reference", reference)
	}
	var b strings.Builder
	b.WriteString(head + begin)
	_, config := load(t, "proxyconfigs")
	b.WriteString("\n## ProxyConfig\n\n" + prose(config.Description))
	writeFields(&b, "spec", config.Properties["spec"])
	columns, node := load(t, "proxynodes")
	b.WriteString("## ProxyNode\n\n" + prose(node.Description))
	writeTable(&b, node.Properties["status"])
	writeColumns(&b, columns)
	b.WriteString(end + tail)
	if *update {
		if err := os.WriteFile(reference, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != string(old) {
		t.Errorf("%s is out of date: run go test ./config -update", reference)
	}
}

// prose is a description as Markdown.
func prose(text string) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		paragraph = strings.Join(strings.Fields(paragraph), " ")
		for _, word := range []string{"Default", "Live", "Flag", "Flags"} {
			paragraph = strings.Replace(paragraph, word+": ", "**"+word+"**: ", 1)
		}
		b.WriteString(paragraph + "\n\n")
	}
	return b.String()
}

// writeFields writes a section for each field, those with fields of their own last.
func writeFields(b *strings.Builder, path string, p *property) {
	names := slices.SortedFunc(maps.Keys(p.Properties), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(p.Properties[x].Properties), 0)-cmp.Compare(len(p.Properties[y].Properties), 0), strings.Compare(x, y))
	})
	for _, name := range names {
		field := p.Properties[name]
		fmt.Fprintf(b, "### %s.%s\n\n%s%s", path, name, kind(field), prose(field.Description))
		writeRules(b, field)
		if len(field.Properties) > 0 {
			writeFields(b, path+"."+name, field)
		}
	}
}

// kind says of what type a field is, and which values it may have.
func kind(p *property) string {
	text := p.Type
	switch {
	case p.Items != nil:
		text = "list of " + p.Items.Type + "s"
	case p.Additional != nil:
		text = "map of " + p.Additional.Type + "s"
	case len(p.Properties) > 0:
		text = "object"
	case len(p.Enum) > 0:
		text = "`" + strings.Join(p.Enum, "`, `") + "`"
	case p.Minimum != nil && p.Maximum != nil:
		text += fmt.Sprintf(", %d to %d", *p.Minimum, *p.Maximum)
	case p.Minimum != nil:
		text += fmt.Sprintf(", %d or more", *p.Minimum)
	case strings.Contains(fmt.Sprint(p.Rules), "is no time"):
		text = "time such as `5ms`, `30s` or `1h30m`"
	}
	if p.Default != nil {
		text += fmt.Sprintf("; `%v` if it is left out", p.Default)
	}
	return "*" + text + "*\n\n"
}

// writeRules lists what is refused, where the type does not say it.
func writeRules(b *strings.Builder, p *property) {
	var rules []string
	for _, r := range p.Rules {
		if !strings.Contains(r.Message, "is no time") {
			rules = append(rules, r.Message)
		}
	}
	if len(rules) == 0 {
		return
	}
	b.WriteString("Refused, in these words:\n\n")
	for _, r := range rules {
		b.WriteString("- " + r + "\n")
	}
	b.WriteString("\n")
}

// writeTable lists all fields below p, a line each.
func writeTable(b *strings.Builder, p *property) {
	b.WriteString("| field of status | type | meaning |\n|---|---|---|\n")
	var walk func(path string, p *property)
	walk = func(path string, p *property) {
		for _, name := range slices.Sorted(maps.Keys(p.Properties)) {
			field := p.Properties[name]
			fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", path, name,
				strings.Trim(strings.TrimSpace(kind(field)), "*"), strings.TrimSpace(strings.Join(strings.Fields(field.Description), " ")))
			if len(field.Properties) > 0 {
				walk(path+name+".", field)
			}
		}
	}
	walk("", p)
	b.WriteString("\n")
}

func writeColumns(b *strings.Builder, columns []column) {
	b.WriteString("`kubectl get proxynodes` prints:\n\n| column | field |\n|---|---|\n")
	for _, c := range columns {
		wide := ""
		if c.Priority > 0 {
			wide = " (with `-o wide`)"
		}
		fmt.Fprintf(b, "| %s%s | `%s` |\n", strings.ToUpper(c.Name), wide, c.JSONPath)
	}
	b.WriteString("\n")
}

// What controller-gen writes is what is there: make generate was run after the last
// change of the types.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "tool", "-modfile=.ci/generate/go.mod", "controller-gen",
		"object", "crd", "paths=./config/v1alpha1", "output:dir="+dir)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range []string{
		"v1alpha1/zz_generated.deepcopy.go",
		definitions + "/kube-vmap.io_proxyconfigs.yaml", definitions + "/kube-vmap.io_proxynodes.yaml",
	} {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is out of date: run make generate", path)
		}
	}
}
