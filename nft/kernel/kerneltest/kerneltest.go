// Package kerneltest gives tests a network namespace of their own, with a real
// kernel in it, and the nft program as the second opinion. Tests that use it need
// root, and fail without.
package kerneltest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is a network namespace that goes when its test ends.
type NS struct{ file *os.File }

// Namespace makes a network namespace in which only the loopback device is, up.
func Namespace(t testing.TB) *NS {
	t.Helper()
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		file, err := unshare()
		made <- result{file, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatalf("make network namespace (this test needs root): %v", r.err)
	}
	t.Cleanup(func() { r.file.Close() })
	ns := &NS{r.file}
	ns.Do(t, func() {
		if err := setUp("lo"); err != nil {
			t.Fatalf("set loopback device up: %v", err)
		}
	})
	return ns
}

// unshare moves the calling thread into a new namespace and opens that.
func unshare() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	return openCurrent()
}

// openCurrent opens the network namespace of the calling thread.
func openCurrent() (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
}

func setUp(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// FD is the namespace's file descriptor.
func (ns *NS) FD() int { return int(ns.file.Fd()) }

// Do runs f in the namespace, on the calling goroutine, which is locked to its
// thread meanwhile. Sockets that f opens and processes that it starts belong to
// the namespace; goroutines that it starts do not.
func (ns *NS) Do(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	before, err := openCurrent()
	if err != nil {
		t.Fatalf("open current network namespace: %v", err)
	}
	defer before.Close()
	if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter network namespace: %v", err)
	}
	defer func() {
		// A thread that can't come back stays locked, and ends with its goroutine.
		if err := unix.Setns(int(before.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("leave network namespace: %v", err)
			return
		}
		runtime.UnlockOSThread()
	}()
	f()
}

// Command runs a program in the namespace with text as its input, and returns
// what it prints.
func (ns *NS) Command(t testing.TB, input string, name string, args ...string) (output string, err error) {
	t.Helper()
	ns.Do(t, func() {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(input)
		var out []byte
		out, err = cmd.CombinedOutput()
		output = string(out)
	})
	return output, err
}

// Nft runs nft in the namespace and returns what it prints. The test fails if nft
// does.
func (ns *NS) Nft(t testing.TB, args ...string) string {
	t.Helper()
	out, err := ns.Command(t, "", "nft", args...)
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// NftLoad loads text with `nft -f` in the namespace. The test fails if nft does
// not take it.
func (ns *NS) NftLoad(t testing.TB, text string) {
	t.Helper()
	if out, err := ns.Command(t, text, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft -f: %v\n%s\nof this text:\n%s", err, out, text)
	}
}
