package kernel_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"golang.org/x/sys/unix"
)

// dial opens a Conn in the namespace, to be closed when the test ends.
func dial(t testing.TB, ns *kerneltest.NS, o kernel.Options) *kernel.Conn {
	t.Helper()
	o.NetNS = ns.FD()
	c, err := kernel.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func commit(t testing.TB, c *kernel.Conn, tx *nft.Transaction) kernel.Result {
	t.Helper()
	r, err := c.Commit(tx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestDialWithoutCapability wants one clear line that says what is missing.
func TestDialWithoutCapability(t *testing.T) {
	ns := kerneltest.Namespace(t)
	got := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without its capabilities
		got <- dialWithoutCapabilities(ns)
	}()
	err := <-got
	const want = "use nf_tables: CAP_NET_ADMIN is missing: operation not permitted"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// dialWithoutCapabilities drops the capabilities of the calling thread.
func dialWithoutCapabilities(ns *kerneltest.NS) error {
	if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	c, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return err
	}
	c.Close()
	return errors.New("there is no error")
}

func TestDialUnknownNamespace(t *testing.T) {
	if _, err := kernel.Dial(kernel.Options{NetNS: 987}); !errors.Is(err, unix.EBADF) {
		t.Errorf("error %v, want %v", err, unix.EBADF)
	}
}

// TestDialCurrentNamespace uses the namespace that the caller is in.
func TestDialCurrentNamespace(t *testing.T) {
	ns := kerneltest.Namespace(t)
	ns.NftLoad(t, "table inet here {}")
	ns.Do(t, func() {
		c, err := kernel.Dial(kernel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if names, err := c.ListTables(); err != nil || len(names) != 1 || names[0] != "here" {
			t.Errorf("tables %v, error %v", names, err)
		}
	})
}

// TestSmallSendBuffer runs TestSmallSendBufferChild as root of a user namespace,
// where the socket's buffer can't be forced beyond net.core.wmem_max.
func TestSmallSendBuffer(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSmallSendBufferChild$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestSmallSendBufferChild") {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
}

const childVariable = "KUBE_VMAP_TEST_IN_USER_NAMESPACE"

func TestSmallSendBufferChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		return // it is run by TestSmallSendBuffer
	}
	c, err := kernel.Dial(kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := newCluster(2_000, 10)
	commit(t, c, nft.Diff(nil, want.table))
	wantInKernel(t, c, want.table)
}

func TestCanPersist(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := dial(t, ns, kernel.Options{})
	if can, err := c.CanPersist(); err != nil || can != kernel.KernelAtLeast(6, 9) {
		t.Errorf("can persist: %v, error %v; want true from kernel 6.9 on", can, err)
	}
	if out := ns.Nft(t, "list", "ruleset"); out != "" {
		t.Errorf("the trial has left %s", out)
	}
}
