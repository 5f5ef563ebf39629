package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy/explain"
)

// runAgent runs an agent in a namespace until the test ends, and waits until its
// table is complete.
func runAgent(t *testing.T, ns *kerneltest.NS, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ns.Do(t, func() {
			all := append([]string{"run", "--node-name", "demo-node", "--detect-local-mode", "NodeCIDR", "--healthz-bind-address", "",
				"--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0", "--conntrack-tcp-timeout-close-wait", "0"}, args...)
			_, err := execCommand(ctx, all...)
			ended <- err
		})
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// inside runs a command in a namespace, with its exit code.
func inside(t *testing.T, ns *kerneltest.NS, args ...string) (stdout string, code int) {
	t.Helper()
	ns.Do(t, func() {
		var err error
		stdout, err = execCommand(t.Context(), args...)
		code, _ = exitCode(err)
		if code > exitNo {
			t.Logf("kube-vmap %s: %v", strings.Join(args, " "), err)
		}
	})
	return stdout, code
}

// awaitHealthy waits until status says so.
func awaitHealthy(t *testing.T, ns *kerneltest.NS) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, code := inside(t, ns, "status")
		if code == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not healthy:\n%s", out)
		}
	}
}

// TestOperate asks a running agent, and then what it left, all that an operator may
// ask: what is said, in how many columns, and with which exit code.
func TestOperate(t *testing.T) {
	ns := kerneltest.Namespace(t)
	stop := runAgent(t, ns, "--manifests", demo)
	awaitHealthy(t, ns)
	check := func(want int, contains string, args ...string) {
		t.Helper()
		out, code := inside(t, ns, args...)
		if code != want || !strings.Contains(strings.Join(strings.Fields(out), " "), contains) { // lines are broken
			t.Errorf("kube-vmap %s: exit code %d, want %d, with %q\n%s", strings.Join(args, " "), code, want, contains, out)
		}
		for line := range strings.Lines(out) {
			if n := len(strings.TrimSuffix(line, "\n")); n > pageWidth && !strings.HasPrefix(line, "add ") {
				t.Errorf("kube-vmap %s: %d columns: %s", strings.Join(args, " "), n, line)
			}
		}
	}
	check(0, "healthy: kube-vmap devel serves Services on demo-node", "status")
	check(0, "shop/web:http", "services")
	check(0, "10.244.0.11:8080", "services", "-o", "wide", "-n", "shop", "web")
	check(0, "no frontend; the table has 22", "services", "-n", "nobody")
	check(0, "are forwarded: shop/web:http has 3 usable endpoints", "explain", "10.96.0.10:80")
	check(0, "its hints name other zones than this node's, demo-a", "explain", "10.96.0.53:53/udp")
	check(1, "are refused, since shop/search:http has no endpoints.", "explain", "10.96.0.40:80")
	check(1, "are dropped, since loadBalancerSourceRanges of", "explain", "203.0.113.10:80", "--from", "192.0.2.77")
	check(1, "is a cluster IP without a port 81/TCP", "explain", "[fd00:10:96::10]:81")
	check(1, "accepts node ports", "explain", "192.0.2.99:30080")
	check(2, "", "explain", "10.96.0.10")
	check(2, "", "explain")
	check(2, "", "status", "--nonsense")
	check(2, "", "explain", "10.96.0.10:80", "--from", "fd00::1")
	check(0, "the table is what the objects ask for", "diff")
	check(1, "", "trace", "10.96.0.10:80", "--timeout", "100ms")

	stop()
	check(1, "no agent runs, and the table serves as it was left", "status")
	check(1, "shop/search:http has no usable endpoint", "explain", "10.96.0.40:80")
	check(1, "shop/search:http has no endpoints", "explain", "10.96.0.40:80", "--manifests", demo, "--node-name", "demo-node")
	check(2, "", "diff")
	same := []string{"diff", "--manifests", demo, "--node-name", "demo-node", "--detect-local-mode", "NodeCIDR"}
	check(0, "the table is what the objects ask for", same...)
	ns.Nft(t, "delete element inet kube-vmap cluster-ips4 { 10.96.0.10 }")
	check(1, "add element inet kube-vmap cluster-ips4 { 10.96.0.10 }", same...)

	ns.Nft(t, "delete table inet kube-vmap")
	check(1, "no agent runs, and no table serves", "status")
	check(1, "there is no table inet kube-vmap on this node", "explain", "10.96.0.10:80")
	check(1, "", "services")
	check(1, "", "trace", "10.96.0.10:80", "--timeout", "100ms")
}

// TestAnswersAreJSON: programs get values.
func TestAnswersAreJSON(t *testing.T) {
	ns := kerneltest.Namespace(t)
	runAgent(t, ns, "--manifests", demo, "--counters", "endpoints")
	awaitHealthy(t, ns)
	read := func(into any, args ...string) {
		t.Helper()
		out, _ := inside(t, ns, append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Errorf("kube-vmap %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var status nodeStatus
	if read(&status, "status"); !status.Healthy || status.Agent == nil || status.Kernel.Frontends != 22 || status.Kernel.Counters != "endpoints" {
		t.Errorf("status %+v", status)
	}
	var services []frontendJSON
	if read(&services, "services", "web"); len(services) != 6 || services[0].Connections == nil || len(services[0].PerBackend) != 3 {
		t.Errorf("services %+v", services)
	}
	var answer explain.Answer
	if read(&answer, "explain", "10.96.0.40:80"); len(answer.Outcomes) != 1 || answer.Outcomes[0].Verdict != explain.Refused || answer.Class != 1 {
		t.Errorf("explain %+v", answer)
	}
	var difference struct {
		Equal       bool
		Differences []string
	}
	if read(&difference, "diff"); !difference.Equal || difference.Differences == nil {
		t.Errorf("diff %+v", difference)
	}
}

// TestCompletion: the shell completes commands, Services and frontends.
func TestCompletion(t *testing.T) {
	ns := kerneltest.Namespace(t)
	runAgent(t, ns, "--manifests", demo)
	awaitHealthy(t, ns)
	for _, test := range []struct{ typed, want string }{
		{"sup", "support-bundle"},
		{"services -n shop w", "web\n"},
		{"services -n kube", "kube-system\n"},
		{"services --kind Node", "NodePort\n"},
		{"explain 10.96.0.4", "10.96.0.40:80/tcp\tshop/search:http"},
		{"trace 10.96.0.53:5", "10.96.0.53:53/udp\tkube-system/kube-dns:dns"},
	} {
		out, _ := inside(t, ns, append([]string{"__complete"}, strings.Fields(test.typed)...)...)
		if !strings.Contains(out, test.want) {
			t.Errorf("%s: %q lacks %q", test.typed, out, test.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, code := inside(t, ns, "completion", shell); code != 0 || !strings.Contains(out, "kube-vmap") {
			t.Errorf("completion %s: exit code %d", shell, code)
		}
	}
}

// files unpacks an archive.
func files(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(h.Name)] = string(data)
	}
}

// TestSupportBundle: everything is in it.
func TestSupportBundle(t *testing.T) {
	ns := kerneltest.Namespace(t)
	stop := runAgent(t, ns, "--manifests", demo)
	awaitHealthy(t, ns)
	out, code := inside(t, ns, "support-bundle", "--file", "-")
	if code != 0 {
		t.Fatal(out)
	}
	got := files(t, strings.NewReader(out))
	for name, want := range map[string]string{
		"version.txt": "kube-vmap devel", "status.json": `"ready": true`, "configuration.json": "demo-node",
		"metrics.txt": "kube_vmap_ready 1", "log.txt": "table is complete", "events.txt": "Started",
		"desired.nft": "shop/web:http", "ruleset.nft": "vmap @services4", "differences.json": "[]", "tables.txt": "kube-vmap",
		"services.json": "shop/web:http", "sysctls.txt": "nf_conntrack_max", "addresses.txt": "lo ",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, got[name])
		}
	}
	if got["errors.txt"] != "" {
		t.Errorf("errors: %s", got["errors.txt"])
	}
	stop()
	name := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if out, code := inside(t, ns, "support-bundle", "--file", name); code != 0 || !strings.Contains(out, name) {
		t.Errorf("without an agent: %d, %s", code, out)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, bytes.NewReader(data)); !strings.Contains(got["errors.txt"], "log.txt: no agent answers") || got["ruleset.nft"] == "" {
		t.Errorf("without an agent: %v", got["errors.txt"])
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestBundleHasNoSecrets: an agent that has a token and fails to use it tells
// nobody; and what looks like a credential is cut out.
func TestBundleHasNoSecrets(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ik.eyJpc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJl"
	const password = "correct-horse-battery-staple"
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: x, user: {token: "` + token + `"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBE_VMAP_TEST_SECRET", password)
	ns := kerneltest.Namespace(t)
	runAgent(t, ns, "--kubeconfig", kubeconfig, "-v", "8")
	var got map[string]string
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(got["log.txt"], "connection refused"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not tell of the API server: %v", got)
		}
		out, code := inside(t, ns, "support-bundle", "--file", "-")
		if code != 0 {
			t.Fatal(out)
		}
		got = files(t, strings.NewReader(out))
	}
	for name, data := range got {
		for _, secret := range []string{token, token[:30], password} {
			if strings.Contains(data, secret) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
	for _, secret := range []string{
		"x " + token + " y", "Authorization: Bearer 0123456789abcdef0123456789abcdef", `"token": "0123456789abcdefghij"`,
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "https://user:" + password + "@example.org/",
	} {
		if left := string(redact([]byte(secret))); !strings.Contains(left, "[removed]") || strings.Contains(left, "0123456789") ||
			strings.Contains(left, "MIIE") || strings.Contains(left, password) || strings.Contains(left, token) {
			t.Errorf("%q becomes %q", secret, left)
		}
	}
	for _, plain := range []string{"kube-system/token-service-of-a-long-name:http", "secret-server-with-a-name", "goto external-local-affinity4-65536"} {
		if left := string(redact([]byte(plain))); left != plain {
			t.Errorf("%q becomes %q", plain, left)
		}
	}
}
