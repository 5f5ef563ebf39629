package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

const imageName = "ghcr.io/kube-vmap/kube-vmap:" + testTag

// Options of ctr: images are unpacked by copying, which works on every file
// system, and no cgroup is made, which would be left behind.
const (
	snapshotter = "--snapshotter=native"
	noCgroup    = "--cgroup="
)

// manifest is a Service with two backends, the pods a1 and a2 of node-a.
const manifest = `
apiVersion: v1
kind: Node
metadata: {name: node-a}
status:
  addresses: [{type: InternalIP, address: 192.0.2.10}, {type: InternalIP, address: "2001:db8:2::10"}]
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ipFamilies: [IPv4]
  ports: [{name: http, port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.0.11], nodeName: node-a}, {addresses: [10.244.0.12], nodeName: node-a}]
`

// The image is imported by containerd and serves a Service, with the rights that
// the chart gives it.
func TestContainerServes(t *testing.T) {
	b := buildImage(t)
	lab := testnet.ForTest(t, testnet.TwoNodes())
	node := lab.Host("node-a")
	for _, pod := range []string{"a1", "a2"} {
		if _, err := lab.Host(pod).Serve(testnet.TCP, 8080); err != nil {
			t.Fatal(err)
		}
	}
	engine := startContainerd(t, node.Path())
	engine.ctr(t, "images", "import", snapshotter, b.archivePath())
	listed := engine.ctr(t, "images", "ls")
	if !strings.Contains(listed, imageName) || !strings.Contains(listed, "linux/amd64,linux/arm64/v8") {
		t.Errorf("images:\n%s", listed)
	}
	version := engine.ctr(t, "run", "--rm", noCgroup, snapshotter, imageName, "version", "/kube-vmap", "version")
	if !strings.HasPrefix(version, "kube-vmap "+testTag+" (") {
		t.Errorf("version: %q", version)
	}

	runAgent(t, engine)
	for from, to := range map[string]string{"a2": "10.96.0.10:80", "client": "192.0.2.10:30080", "node-a": "10.96.0.10:80"} {
		if o := lab.Host(from).Probe(testnet.TCP, netip.MustParseAddrPort(to)); o.Kind != testnet.Answered {
			t.Errorf("%s to %s: %s %v", from, to, o.Kind, o.Err)
		}
	}
	checkPrivileges(t, engine)

	// The table stays when the container goes.
	engine.ctr(t, "task", "kill", "--signal=SIGTERM", "agent")
	eventually(t, "the container ends", func() bool {
		return strings.Contains(engine.ctr(t, "task", "ls"), "STOPPED")
	})
	if o := lab.Host("client").Probe(testnet.TCP, netip.MustParseAddrPort("192.0.2.10:30080")); o.Kind != testnet.Answered {
		t.Errorf("after the end: %s %v", o.Kind, o.Err)
	}
	if out, err := engine.try("task", "rm", "agent"); err != nil { // fails with the container's exit code
		t.Errorf("%s %v", out, err)
	}
}

// runAgent starts the agent and waits until it says that it is ready.
func runAgent(t *testing.T, engine *containerd) {
	t.Helper()
	objects := t.TempDir()
	if err := os.WriteFile(filepath.Join(objects, "shop.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(engine.dir, "agent.log")
	args := append([]string{"run", "--detach", noCgroup, snapshotter, "--log-uri=file://" + log}, chartPrivileges()...)
	args = append(args, "--with-ns=network:"+netnsInside, "--env=NODE_NAME=node-a",
		"--mount=type=bind,src="+objects+",dst=/objects,options=rbind:ro",
		imageName, "agent", "/kube-vmap", "run", "--manifests=/objects", "--conntrack-max-per-core=0")
	engine.ctr(t, args...)
	eventually(t, "the agent has programmed the table", func() bool {
		said, _ := os.ReadFile(log) // comes with the container
		return strings.Contains(string(said), "table is complete")
	})
}

// checkPrivileges asks the kernel what the agent may do.
func checkPrivileges(t *testing.T, engine *containerd) {
	t.Helper()
	fields := strings.Fields(engine.ctr(t, "task", "ls")) // TASK PID STATUS agent 42 RUNNING
	if len(fields) != 6 {
		t.Fatalf("tasks: %q", fields)
	}
	status, err := os.ReadFile("/proc/" + hostPID(t, engine, fields[4]) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000001000", "CapBnd:\t0000000000001000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want+"\n") {
			t.Errorf("want %s in\n%s", want, status)
		}
	}
}

// hostPID finds the process that has an id in the engine's namespace.
func hostPID(t *testing.T, engine *containerd, inside string) string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err == nil && strings.Contains(string(status), "Name:\tkube-vmap\n") &&
			strings.Contains(string(status), "NSpid:\t"+e.Name()+"\t"+inside+"\t") {
			return e.Name()
		}
	}
	t.Fatalf("no process is %s in the namespace of process %d", inside, engine.cmd.Process.Pid)
	return ""
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}
