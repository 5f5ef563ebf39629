package manifests

import (
	"errors"
	"regexp"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

// FuzzRead reads anything. It must not panic; errors must point into the file; and
// a list that is read an entry at a time must say what it says as a whole.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", service, slice, service + "---\n" + slice + "...\n%YAML 1.1\n---\n" + service,
		"\r---\rkind: x\r\n", "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: web\n  spec:\n    clusterIP: 10.96.0.1\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\nkind: List\n",
		"kind: ServiceList\napiVersion: v1\nitems:\n  - metadata: &m {name: a}\n  - metadata: *m\n    spec: {clusterIP: \"10.96.0.1\n- x\"}\n",
		"kind: ServiceList\napiVersion: v1\nitems:\n  - metadata:\n      name: |-\n        a\n    spec: {<<: {clusterIP: 0x1}, ports: [{port: 0o7}]}\n",
		"kind: ServiceList\napiVersion: v1\nitems:#\n  - a: #\n",
		`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}]} {}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: 2026-01-02T03:04:05Z}}`,
		"apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.0.0.0/8, ~, '::/0']}\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, json bool) {
		path := "a.yaml"
		if json {
			path = "a.json"
		}
		objects, err := newReader(logr.Discard()).read(path, data)
		for _, e := range fileErrors(path, err) {
			var at *Error
			if !errors.As(e, &at) || at.Line < 0 || at.Line > len(lineEnd.FindAll(data, -1))+2 {
				t.Errorf("an error that is not in the file: %v", e)
			}
		}
		for i := range objects {
			if objects[i].Ref.Name == "" || objects[i].line < 1 {
				t.Errorf("an object from nowhere: %s", summary(&objects[i]))
			}
		}
		sameAsAWhole(t, data)
	})
}

// lineEnd is what ends a line for the YAML library.
var lineEnd = regexp.MustCompile("[\n\r\u0085\u2028\u2029]")

func sameAsAWhole(t *testing.T, data []byte) {
	data = lineFeeds(data)
	parts := &reading{reader: newReader(logr.Discard()), path: "a.yaml"}
	parts.yaml(chunk{data, 1})
	whole := &reading{reader: newReader(logr.Discard()), path: "a.yaml"}
	for document := range documents(chunk{data, 1}) {
		whole.document++
		whole.yamlDocument(document)
	}
	lines := func(in *reading) []string {
		var lines []string
		for i := range in.objects {
			lines = append(lines, summary(&in.objects[i]))
		}
		for _, err := range in.errs {
			lines = append(lines, err.Error())
		}
		return lines
	}
	if d := cmp.Diff(lines(whole), lines(parts)); d != "" {
		t.Errorf("an entry at a time, and (-) as a whole:\n%s", d)
	}
}
