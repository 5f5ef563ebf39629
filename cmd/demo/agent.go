package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// agent is a running kube-vmap, and what it logs.
type agent struct {
	process *testnet.Process

	mu    sync.Mutex
	lines []string
	news  chan struct{} // closed at the next line
}

// complete is in the line the agent logs when the kernel has everything.
const complete = "table is complete"

// runAgent starts the agent on the node and waits until it has programmed everything.
func (s *stage) runAgent(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	cmd := exec.Command(s.options.binary, "run", "--manifests", s.files.dir, "--node-name", nodeName,
		"--table-ownership", s.ownership, "-v", "2")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // Ctrl-C on the terminal is for the demo
	r, w := io.Pipe()
	cmd.Stderr = w
	a := &agent{news: make(chan struct{})}
	process, err := s.node.Start(cmd)
	if err != nil {
		return 0, err
	}
	a.process, s.agent = process, a
	go a.read(r)
	go func() {
		<-process.Done()
		w.CloseWithError(io.EOF)
	}()
	_, err = a.await(ctx, 0, complete)
	return time.Since(start), err
}

func (a *agent) read(r io.Reader) {
	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		a.mu.Lock()
		a.lines = append(a.lines, scanner.Text())
		close(a.news)
		a.news = make(chan struct{})
		a.mu.Unlock()
	}
}

// logged counts the lines so far.
func (a *agent) logged() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lines)
}

func (a *agent) lastLine() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lines) == 0 {
		return ""
	}
	return a.lines[len(a.lines)-1]
}

// await waits up to 10 s for a line with a text, after the first n lines.
func (a *agent) await(ctx context.Context, n int, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		a.mu.Lock()
		lines, news := a.lines[n:], a.news
		a.mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, text) {
				return line, nil
			}
		}
		select {
		case <-news:
		case <-a.process.Done():
			return "", fmt.Errorf("the agent has ended: %s", a.lastLine())
		case <-ctx.Done():
			return "", fmt.Errorf("the agent did not log %q: %w; it logged last: %s", text, ctx.Err(), a.lastLine())
		}
	}
}
