package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child process in a host's namespace. It dies with this process.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait, once done is closed
}

// Start starts a command in the host's namespace. The command must be fresh.
func (h *Host) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	// The kernel sends the death signal when the thread that started the child
	// ends: this goroutine keeps its thread until the child is gone.
	go func() {
		err := h.Do(func() error {
			err := cmd.Start()
			if err == nil {
				started <- nil
				p.err = cmd.Wait()
				close(p.done)
			}
			return err
		})
		if err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", cmd.Path, h.name, err)
	}
	return p, h.own(p)
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits until the process has ended; its error is that of exec.Cmd.Wait.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal; a process that has ended is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.PID(), err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Close is Kill: what the host does with processes that still run.
func (p *Process) Close() error { return p.Kill() }

// runTimeout bounds the commands of Run and LoadNFT, which take seconds at most.
const runTimeout = 2 * time.Minute

// Run runs a command in the host's namespace and returns what it printed. What it
// printed on stderr is part of the error. A command that runs for two minutes is
// killed, and that is an error.
func (h *Host) Run(name string, args ...string) (string, error) {
	return h.run(exec.Command(name, args...))
}

// LoadNFT loads a ruleset with the nft binary, in one transaction.
func (h *Host) LoadNFT(ruleset string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	_, err := h.run(cmd)
	return err
}

func (h *Host) run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second // for what else holds the pipes
	p, err := h.Start(cmd)
	if err != nil {
		return "", err
	}
	defer h.disown(p)
	stop := time.AfterFunc(runTimeout, func() { _ = p.Signal(unix.SIGKILL) })
	defer stop.Stop()
	if err := p.Wait(); err != nil {
		return stdout.String(), fmt.Errorf("run %s on %s: %w: %s", strings.Join(cmd.Args, " "), h.name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
