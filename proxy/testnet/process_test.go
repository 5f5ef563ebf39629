package testnet

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	node := lab.Host("node-a")
	if err := node.LoadNFT("table inet only-here { }"); err != nil {
		t.Fatal(err)
	}
	out, err := node.Run("nft", "list", "tables")
	if err != nil || strings.TrimSpace(out) != "table inet only-here" {
		t.Errorf("tables of node-a: %q, %v", out, err)
	}
	if out, err := lab.Host("node-b").Run("nft", "list", "tables"); err != nil || out != "" {
		t.Errorf("tables of node-b: %q, %v; want none", out, err)
	}
	if out, err := exec.Command("nsenter", "--net="+node.Path(), "nft", "list", "tables").CombinedOutput(); err != nil || !strings.Contains(string(out), "only-here") {
		t.Errorf("tables by way of Path: %q, %v", out, err)
	}
	if err := node.LoadNFT("nonsense"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("loading nonsense: %v; want what nft printed", err)
	}
	if _, err := node.Run("/no/such/binary"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("running what isn't there: %v", err)
	}
	if n := len(node.closers); n != 0 {
		t.Errorf("the host keeps %d processes that have ended", n)
	}
}

func TestProcess(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	p, err := lab.Host("a1").Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM {
		t.Errorf("sleep ended with %v; want SIGTERM", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killing what has ended: %v", err)
	}
	p, err = lab.Host("a1").Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("the process outlives the laboratory")
	}
}

// TestKilled kills a process that has a laboratory with a child, and finds
// nothing left of either.
func TestKilled(t *testing.T) {
	if os.Getenv("TESTNET_VICTIM") != "" {
		beVictim(t)
	}
	victim := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	victim.Env = append(os.Environ(), "TESTNET_VICTIM=1")
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, namespace, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !namespaceUsed(t, namespace) {
		t.Fatalf("the victim's child is not in %s", namespace)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // tells that it was killed
	child, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); namespaceUsed(t, namespace); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d still lives in %s", child, namespace)
		}
	}
}

// beVictim builds a laboratory, tells of its child and waits to be killed.
func beVictim(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	p, err := lab.Host("a1").Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(p.PID(), namespace)
	select {}
}

// namespaceUsed reports whether a process is in a network namespace, given as "net:[inode]".
func namespaceUsed(t *testing.T, namespace string) bool {
	t.Helper()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if link, err := os.Readlink("/proc/" + p.Name() + "/ns/net"); err == nil && link == namespace {
			return true
		}
	}
	return false
}
