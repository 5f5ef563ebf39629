package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

const demo = "../../examples/demo"

// execCommand runs the command as a user would type it.
func execCommand(ctx context.Context, args ...string) (stdout string, err error) {
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err = cmd.ExecuteContext(ctx)
	return out.String(), err
}

// TestMistakes: what is wrong is said in one line that names the flag.
func TestMistakes(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"run", "no objects to serve"},
		{"run --manifests x --kubeconfig y", "exclude each other"},
		{"run --manifests x --coalesce 2s", "--coalesce=2s: must be from 0 to 1s"},
		{"run --manifests x --masquerade-bit 32", "--masquerade-bit=32: must be from 0 to 31"},
		{"run --manifests x --detect-local-mode Guess", "--detect-local-mode=Guess: must be"},
		{"run --manifests x --detect-local-mode BridgeInterface", "needs --pod-bridge-interface"},
		{"run --manifests x --detect-local-mode InterfaceNamePrefix", "needs --pod-interface-name-prefix"},
		{"run --manifests x --cluster-cidr 10.244.0.0", `--cluster-cidr: "10.244.0.0" is no prefix`},
		{"run --manifests x --nodeport-addresses eth0", `--nodeport-addresses: "eth0" is no prefix`},
		{"run --manifests x --external-ips some", `--external-ips: "some" is no prefix`},
		{"run --manifests x --table-ownership maybe", "--table-ownership=maybe: must be auto, on or off"},
		{"run --manifests x --log-format xml", "--log-format=xml: must be text or json"},
		{"render", "manifests"},
		{"render --manifests /nowhere", "/nowhere"},
		{"services -o yaml", "-o yaml: must be table or json"},
		{"cleanup now", "unknown command"},
		{"run --manifests x --counters some", "--counters=some: must be off, services or endpoints"},
		{"run --manifests x --config /nowhere", "--config /nowhere"},
		{"config convert", "accepts 1 arg"},
		{"config convert /nowhere", "/nowhere"},
		{"config convert main_test.go", "convert main_test.go: read YAML"},
	} {
		_, err := execCommand(t.Context(), strings.Fields(test.args)...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("kube-vmap %s: %v, want %q", test.args, err, test.want)
		}
	}
}

// TestRenderLoads: nft takes what render prints.
func TestRenderLoads(t *testing.T) {
	ns := kerneltest.Namespace(t)
	out, err := execCommand(t.Context(), "render", "--manifests", demo, "--node-name", "demo-node", "--detect-local-mode", "NodeCIDR")
	if err != nil {
		t.Fatal(err)
	}
	ns.NftLoad(t, out)
	if again, _ := execCommand(t.Context(), "render", "--manifests", demo, "--node-name", "demo-node", "--detect-local-mode", "NodeCIDR"); again != out {
		t.Error("rendered twice, the tables differ")
	}
}

// TestLife runs the agent on the demo's manifests, looks at it, and cleans up.
func TestLife(t *testing.T) {
	ns := kerneltest.Namespace(t)
	ns.Do(t, func() {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ns.Do(t, func() {
				_, err := execCommand(ctx, "run", "--manifests", demo, "--node-name", "demo-node", "--log-format", "json", "-v", "2",
					"--healthz-bind-address", "", "--metrics-bind-address", "", "--conntrack-max-per-core", "0",
					"--conntrack-tcp-timeout-established", "0", "--conntrack-tcp-timeout-close-wait", "0")
				ended <- err
			})
		}()
		var listed []frontendJSON
		for deadline := time.Now().Add(20 * time.Second); len(listed) == 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			out, err := execCommand(ctx, "services", "-o", "json")
			if err != nil || json.Unmarshal([]byte(out), &listed) != nil {
				t.Fatalf("services: %v\n%s", err, out)
			}
		}
		table, err := execCommand(ctx, "services")
		if err != nil || !strings.HasPrefix(table, "SERVICE") || !strings.Contains(table, "shop/web:http") {
			t.Errorf("services: %v\n%s", err, table)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		for _, want := range []string{"table inet kube-vmap removed", "table inet kube-vmap is not there"} {
			if out, err := execCommand(context.Background(), "cleanup"); err != nil || !strings.Contains(out, want) {
				t.Errorf("cleanup: %v, %q, want %q", err, out, want)
			}
		}
	})
}
