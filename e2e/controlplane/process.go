package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a child that dies with this process, however it ends.
type process struct {
	name    string
	child   *os.Process
	logPath string
	done    chan struct{} // closed when the child has ended
	err     error         // valid then: how it ended
}

// run starts a binary in the control plane's namespace. Its output is appended to
// NAME.log in the log directory.
func (cp *ControlPlane) run(name string, args []string) (*process, error) {
	binary, err := FindBinary(cp.options.Binaries, name)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, logPath: filepath.Join(cp.logDir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer log.Close()

	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // an interrupt from the terminal is for the suite, which cleans up
	}
	started := make(chan error)
	go p.live(cmd, cp.options.Namespace, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// live starts the child and waits for its end, all on one thread that nobody else
// gets: the kernel sends Pdeathsig when the thread that forked ends.
func (p *process) live(cmd *exec.Cmd, namespace int, started chan<- error) {
	err := enterNamespace(namespace)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		started <- err
		return
	}
	p.child = cmd.Process
	started <- nil
	p.err = cmd.Wait()
	close(p.done)
}

// ended tells whether the child has ended. A nil process was never started.
func (p *process) ended() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the child at once. A nil process was never started.
func (p *process) kill() error {
	if p == nil {
		return nil
	}
	return p.end(syscall.SIGKILL, time.Minute)
}

// terminate asks the child to end, and kills it if it takes longer than patience.
func (p *process) terminate(patience time.Duration) error {
	if err := p.end(syscall.SIGTERM, patience); err != nil {
		return p.kill()
	}
	return nil
}

func (p *process) end(signal syscall.Signal, patience time.Duration) error {
	if err := p.child.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", signal, p.name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("end %s: it still runs %s after %s", p.name, patience, signal)
	}
}

// failure tells why the child has ended, with the end of its log.
func (p *process) failure() error {
	return fmt.Errorf("%s has ended: %v; its log ends with:\n%s", p.name, p.err, LogTail(p.logPath)) //nolint:errorlint // nil if it gave 0
}

// LogTail is the last 20 lines of a log, or why there are none.
func LogTail(path string) []byte {
	const lines = 20
	log, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	end := len(log)
	for range lines + 1 {
		i := bytes.LastIndexByte(log[:end], '\n')
		if i < 0 {
			return log
		}
		end = i
	}
	return log[end+1:]
}
