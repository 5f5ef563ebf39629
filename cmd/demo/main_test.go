package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// build builds the agent.
func build(t *testing.T) options {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kube-vmap")
	if out, err := exec.Command("go", "build", "-o", binary, "../kube-vmap").CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return options{binary: binary, manifests: "../../examples/demo"}
}

// Both tours go through with the real agent, lose no request, and leave no file.
func TestTours(t *testing.T) {
	o := build(t)
	for restart, steps := range map[bool][]step{false: tour, true: restartTour} {
		o.restart = restart
		t.Setenv("TMPDIR", t.TempDir())
		var out bytes.Buffer
		if err := run(t.Context(), o, &printer{w: &out}); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		for _, s := range steps {
			if !strings.Contains(out.String(), "== "+s.title+"\n") {
				t.Errorf("the step %q is missing:\n%s", s.title, &out)
			}
		}
		end := "== Done\n   failed requests: 0\n"
		if restart {
			end = "== Done\n   writes at restart: 0\n   failed requests: 0\n"
		}
		if !strings.HasSuffix(out.String(), end) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("a tour without a terminal ends like this:\n%s", &out)
		}
		nothingIn(t, os.Getenv("TMPDIR"))
	}
}

// A person who has had enough is obeyed at once, in any step.
func TestInterrupted(t *testing.T) {
	o := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	out := &trigger{text: "is deleted from the manifest", pull: cancel}
	if err := run(ctx, o, &printer{w: out}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted tour ends with %v; want %v", err, context.Canceled)
	}
	nothingIn(t, os.Getenv("TMPDIR"))
}

// trigger is pulled when a text is written.
type trigger struct {
	text string
	pull func()
}

func (t *trigger) Write(b []byte) (int, error) {
	if strings.Contains(string(b), t.text) {
		t.pull()
	}
	return len(b), nil
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
}

func TestPreflight(t *testing.T) {
	present := options{binary: os.Args[0], manifests: "../../examples/demo"}
	if err := preflight(present); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
	for text, o := range map[string]options{
		"run make first":         {binary: "no-such-binary", manifests: present.manifests},
		"are missing":            {binary: present.binary, manifests: t.TempDir()},
		"root of the repository": {binary: present.binary, manifests: "no-such-directory"},
	} {
		if err := preflight(o); err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v; want one line with %q", o, err, text)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := preflight(present); err == nil || !strings.Contains(err.Error(), "nft binary is missing") {
		t.Errorf("without nft: %v", err)
	}
}

func TestWithout(t *testing.T) {
	const service = "# a Service\nkind: Service\nmetadata: {name: web}\n"
	const slice = "kind: EndpointSlice\nendpoints:\n- addresses: [10.0.0.1]\n- addresses: [\"fd00::1\"]\n"
	for _, c := range []struct {
		addr    string
		changed bool
	}{{"10.0.0.1", true}, {"fd00::1", true}, {"10.0.0.2", false}} {
		content := service + "---\n" + slice
		got, err := without(content, []string{c.addr})
		if err != nil {
			t.Fatal(err)
		}
		if changed := got != content; changed != c.changed || !strings.HasPrefix(got, service+"---\n") {
			t.Errorf("without %s: %q", c.addr, got)
		}
		if strings.Contains(got, c.addr) {
			t.Errorf("%s is still in %q", c.addr, got)
		}
	}
}

func TestElementsOf(t *testing.T) {
	listed := "map m {\n  type x : y\n  elements = { a : 1,\n\t\t\t b : 2 comment \"x\",\n\t\t\t a2 : 3 }\n}"
	want := "map m {\n  type x : y\n  elements = { a : 1,\n               a2 : 3 }\n}"
	if got := elementsOf(listed, func(e string) bool { return strings.HasPrefix(e, "a") }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := block("x\n\tchain c {\n\t\tone\n\t\ttwo\n\t}\ny", "chain c"); got != "chain c {\n  one\n  two\n}" {
		t.Errorf("block: %q", got)
	}
}

func TestDeviation(t *testing.T) {
	tally := newTally()
	for range 60 {
		tally.count(time.Now(), "web-1", nil)
		tally.count(time.Now(), "web-2", nil)
	}
	tally.count(time.Now(), "", errors.New("lost"))
	if d := tally.deviation("web-1"); d < 0.49 || d > 0.51 || tally.worst() != 1 {
		t.Errorf("60, 60 and 0 of 120: web-1 deviates by %v, the worst by %v; want 0.5 and 1", d, tally.worst())
	}
}
