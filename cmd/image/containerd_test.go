package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// containerd is a container engine of its own: all it makes is below a temporary
// directory, and its processes and mounts are in namespaces that end with it.
type containerd struct {
	cmd    *exec.Cmd
	dir    string
	socket string
}

// Where the engine's containers find the network namespace they are to join.
const netnsInside = "/run/netns"

// startContainerd starts an engine that ends with the test, also when that is
// killed. Its containers may join the network namespace that is found at a path.
func startContainerd(t *testing.T, netns string) *containerd {
	t.Helper()
	for _, program := range []string{"containerd", "ctr", "runc", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: install it (make setup)", err)
		}
	}
	dir, err := os.MkdirTemp("", "kv") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	c := &containerd{dir: dir, socket: filepath.Join(dir, "containerd.sock")}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[debug]\nlevel = \"error\"\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.socket)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `
		mount -t tmpfs tmpfs /run
		touch ` + netnsInside + `
		mount --bind "$1" ` + netnsInside + `
		mount -t proc proc /proc
		exec containerd --config "$2"/config.toml`
	c.cmd = exec.Command("sh", "-euc", script, "sh", netns, dir)
	var said bytes.Buffer
	c.cmd.Stderr = &said
	c.cmd.SysProcAttr = &unix.SysProcAttr{
		Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS,
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop(t, &said) })
	for range 300 {
		if _, err = c.try("version"); err == nil {
			return c
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("containerd does not answer: %v", err)
	return nil
}

// stop ends the engine, and with the first process of the namespace all others.
func (c *containerd) stop(t *testing.T, said *bytes.Buffer) {
	_ = c.cmd.Process.Kill() // may have ended
	_ = c.cmd.Wait()         // it was killed
	if t.Failed() {
		t.Logf("containerd:\n%s", said)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		t.Error(err)
	}
}

// try runs ctr where the engine runs.
func (c *containerd) try(args ...string) (string, error) {
	inside := []string{"--target", fmt.Sprint(c.cmd.Process.Pid), "--mount", "--pid", "ctr", "--address", c.socket, "--namespace", "k8s.io"}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("nsenter", append(inside, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("run ctr %s: %w", strings.Join(args, " "), errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return stdout.String(), nil
}

func (c *containerd) ctr(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// chartPrivileges are the rights that the chart gives the agent, in ctr's words:
// of what ctr gives by default only CAP_NET_ADMIN remains.
func chartPrivileges() []string {
	args := []string{"--read-only", "--seccomp", "--cap-add=CAP_NET_ADMIN"}
	for _, name := range []string{
		"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
		"SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
	} {
		args = append(args, "--cap-drop=CAP_"+name)
	}
	return args
}
