package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// told writes chunks as "line:text".
func told(chunks []chunk) []string {
	var list []string
	for _, c := range chunks {
		list = append(list, fmt.Sprintf("%d:%s", c.line, c.text))
	}
	return list
}

func TestDocuments(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"blanks and comments", "\n# a\n  \n", nil},
		{"one", "a: 1\n", []string{"1:a: 1\n"}},
		{"one without an end of line", "a: 1", []string{"1:a: 1"}},
		{"two", "a: 1\n---\nb: 2\n", []string{"1:a: 1\n", "2:---\nb: 2\n"}},
		{"markers without documents", "---\n---\n# a\n---\na: 1\n---\n---\n", []string{"1:---\n---\n# a\n---\na: 1\n"}},
		{"a comment before", "# a\n---\na: 1\n", []string{"1:# a\n---\na: 1\n"}},
		{"a directive before", "a: 1\n...\n%YAML 1.1\n---\nb: 2\n", []string{"1:a: 1\n", "3:%YAML 1.1\n---\nb: 2\n"}},
		{"content on the marker's line", "--- {a: 1}\n--- {b: 2}\n", []string{"1:--- {a: 1}\n", "2:--- {b: 2}\n"}},
		{"a comment on the marker's line", "--- # a\nb: 2\n", []string{"1:--- # a\nb: 2\n"}},
		{"no marker", "---a: 1\n ---\n", []string{"1:---a: 1\n ---\n"}},
		{"carriage returns", "a: 1\r\n---\r\nb: 2\r\n", []string{"1:a: 1\r\n", "2:---\r\nb: 2\r\n"}},
		{"an end, and a document without a marker", "a: 1\n...\nb: 2\n", []string{"1:a: 1\n", "3:b: 2\n"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := told(slices.Collect(documents(chunk{[]byte(row.in), 1})))
			if d := cmp.Diff(row.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestItems(t *testing.T) {
	for _, row := range []struct {
		name, in, head string
		want           []string
	}{
		{"as kubectl prints it", "apiVersion: v1\nitems:\n- a: 1\n  b:\n  - c\n- a: 2\nkind: List\n", "apiVersion: v1\nkind: List\n",
			[]string{"3:- a: 1\n  b:\n  - c\n", "6:- a: 2\n"}},
		{"indented, and at the end", "kind: List\nitems: # all\n  - a: 1\n\n    # comment\n    b: 2\n  -\n    a: 3\n", "kind: List\n",
			[]string{"3:  - a: 1\n\n    # comment\n    b: 2\n", "7:  -\n    a: 3\n"}},
		{"comments between", "items:\n# one\n- a: 1\n# two\n- a: 2\n", "",
			[]string{"3:- a: 1\n# two\n", "5:- a: 2\n"}},
		{"no items", "kind: List\n", "", nil},
		{"in flow style", "items: [{a: 1}]\n", "", nil},
		{"flow style below", "items:\n  [{a: 1}]\n", "", nil},
		{"empty", "items:\nkind: List\n", "", nil},
		{"not at the top", "spec:\n  items:\n  - a: 1\n", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			head, entries, ok := items(chunk{[]byte(row.in), 1})
			if ok != (row.want != nil) {
				t.Fatalf("split %t", ok)
			}
			if d := cmp.Diff(row.want, told(entries)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if string(head) != row.head {
				t.Errorf("head %q, want %q", head, row.head)
			}
		})
	}
}

func TestJSONWalk(t *testing.T) {
	object := chunk{[]byte("{ \"a\" : 1,\n\"b\":\"x\\\"}]\\\\\", \"c\":[1,\n{\"d\":null},\n true ] ,\"e\":{}\n}"), 10}
	var got []string
	for name, value := range members(object) {
		got = append(got, fmt.Sprintf("%s %d:%s", name, value.line, value.text))
		if name == "c" {
			for e := range elements(value) {
				got = append(got, fmt.Sprintf("- %d:%s", e.line, e.text))
			}
		}
	}
	want := []string{"a 10:1", `b 11:"x\"}]\\"`, "c 11:[1,\n{\"d\":null},\n true ]", "- 11:1", `- 12:{"d":null}`, "- 13:true", "e 13:{}"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for range members(chunk{[]byte(strings.TrimSpace("{}")), 1}) {
		t.Error("an empty object has a member")
	}
}
