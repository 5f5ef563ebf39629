package manifests

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml":     svc("a", 1),
		"b/b.yaml":   svc("b", 2) + svc("a", 3),
		"b/bad.yaml": svc("c", 4) + "---\nkind: [\n",
		"bad.json":   "{\n\"kind\": 1",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	update, err := Load(dir, Options{})
	if len(update.Services) != 2 || update.ServiceCIDRs == nil {
		t.Errorf("loaded %v, want a and b, and no ServiceCIDRs", update)
	}
	want := strings.ReplaceAll(`read DIR/b/b.yaml:7: document 2: Service default/a stands in DIR/a.yaml:2 already, which counts: remove one
read DIR/b/bad.yaml:7: document 2: it is not YAML: did not find expected node content
read DIR/bad.json:2: document 1: the file ends within an object`, "DIR", dir)
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
	var first *Error
	if !errors.As(err, &first) || first.Document != 2 || first.Line != 7 {
		t.Errorf("the first error is %+v", first)
	}
}

func TestLoadOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo")
	if err := os.WriteFile(path, []byte(svc("a", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if update, err := Load(path, Options{}); err != nil || len(update.Services) != 1 {
		t.Errorf("loaded %v, %v", update, err)
	}
}

func TestLoadNothing(t *testing.T) {
	dir := t.TempDir()
	if update, err := Load(dir, Options{}); err != nil || len(update.Services) != 0 {
		t.Errorf("an empty directory: %v, %v", update, err)
	}
	gone := filepath.Join(dir, "gone")
	if _, err := Load(gone, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "read manifests in "+gone) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := New(gone, Options{}).Run(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// Without creation times, as manifests are, the UID decides who is older, and then
// the name.
func TestSeniorityWithoutTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	text := svc("c", 1) + svc("b", 2) + strings.Replace(svc("a", 3), "name: a", "name: a, uid: z", 1) + strings.Replace(svc("d", 4), "name: d", "name: d, uid: y", 1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	update, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	services := slices.Collect(maps.Values(update.Services))
	slices.SortFunc(services, func(a, b *model.Service) int {
		if a.Older(b) {
			return -1
		}
		return 1
	})
	var order string
	for _, s := range services {
		order += s.Name.Name
	}
	if order != "bcda" {
		t.Errorf("from old to young %s, want bcda", order)
	}
}

// writeCluster writes a cluster of Services with ten endpoints each, as many to a
// file as given, and returns the directory.
func writeCluster(t testing.TB, services, perFile int) string {
	t.Helper()
	dir := t.TempDir()
	var out *bufio.Writer
	var f *os.File
	closeFile := func() {
		if f == nil {
			return
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range services {
		if i%perFile == 0 {
			closeFile()
			var err error
			if f, err = os.Create(filepath.Join(dir, fmt.Sprintf("%05d.yaml", i))); err != nil {
				t.Fatal(err)
			}
			out = bufio.NewWriter(f)
		}
		writeService(out, i)
	}
	closeFile()
	return dir
}

func writeService(out *bufio.Writer, i int) {
	fmt.Fprintf(out, `---
apiVersion: v1
kind: Service
metadata:
  name: service-%[1]d
  namespace: namespace-%[2]d
  uid: 7f1c0f0e-0000-4000-8000-%012[1]d
  creationTimestamp: "2026-01-02T03:04:05Z"
spec:
  clusterIP: 10.96.%[3]d.%[4]d
  clusterIPs:
  - 10.96.%[3]d.%[4]d
  ports:
  - name: http
    port: 80
    protocol: TCP
    targetPort: 8080
  selector:
    app: service-%[1]d
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-%[1]d-abcde
  namespace: namespace-%[2]d
  labels:
    kubernetes.io/service-name: service-%[1]d
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: TCP
endpoints:
`, i, i%50, i/256, i%256)
	for e := range 10 {
		n := 10*i + e
		fmt.Fprintf(out, `- addresses:
  - 10.%[1]d.%[2]d.%[3]d
  conditions:
    ready: true
    serving: true
    terminating: false
  nodeName: node-%[4]d
  zone: zone-%[5]d
  hints:
    forZones:
    - name: zone-%[5]d
  targetRef:
    kind: Pod
    name: service-%[6]d-%[7]d
    uid: 7f1c0f0e-0000-4000-8000-%012[8]d
`, 128+n>>16, n>>8&255, n&255, n%1000, n%3, i, e, n)
	}
}

// BenchmarkLoad loads a cluster of 10,000 Services with ten endpoints each, from
// one file and from one for each Service, and tells what stays in memory.
func BenchmarkLoad(b *testing.B) {
	for name, perFile := range map[string]int{"one-file": 10000, "many-files": 1} {
		dir := writeCluster(b, 10000, perFile)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				before := heap()
				browser := newBrowser(dir, Options{NodeName: "node-1"})
				start := time.Now()
				if err := browser.look(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(start).Seconds(), "s/load")
				if update, _ := browser.ledger.Take(); len(update.Services) != 10000 || len(update.Slices) != 10000 {
					b.Fatalf("%d services, %d slices", len(update.Services), len(update.Slices))
				}
				b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-heap")
				runtime.KeepAlive(browser)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
