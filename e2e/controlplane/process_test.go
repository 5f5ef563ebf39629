package controlplane

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// parentVariable makes the test binary a process that starts a child and waits
// to be killed.
const parentVariable = "CONTROL_PLANE_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		beParent(dir)
	}
	os.Exit(m.Run())
}

func beParent(dir string) {
	cp := &ControlPlane{options: Options{Binaries: "/bin"}, logDir: dir}
	p, err := cp.run("sleep", []string{"1000"})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.child.Pid)
	<-p.done
}

func TestChildDiesWithKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child = strings.TrimSpace(child)
	if !alive(child) {
		t.Fatalf("child %s does not run", child)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // its end is known: killed
	for deadline := time.Now().Add(time.Minute); alive(child); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("child %s runs a minute after its parent was killed", child)
		}
	}
}

// alive tells whether a process runs; one that nobody has waited for does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestEndedProcessShowsItsLog(t *testing.T) {
	cp := &ControlPlane{options: Options{Binaries: "/bin"}, logDir: t.TempDir()}
	p, err := cp.run("sh", []string{"-c", "seq 100; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	got := p.failure().Error()
	if !p.ended() || !strings.HasPrefix(got, "sh has ended: exit status 3; its log ends with:\n81\n82\n") ||
		!strings.HasSuffix(got, "\n100\n") {
		t.Errorf("failure of an ended process: %q, want its status and the lines 81 to 100 of its log", got)
	}
	if err := p.kill(); err != nil {
		t.Errorf("kill an ended process: %v", err)
	}
}

func TestStubbornProcessIsKilled(t *testing.T) {
	cp := &ControlPlane{options: Options{Binaries: "/bin"}, logDir: t.TempDir()}
	p, err := cp.run("sh", []string{"-c", "trap '' TERM; while :; do sleep 1; done"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.terminate(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !p.ended() {
		t.Error("the process runs")
	}
}
