package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// writes counts what `nft monitor` tells of changes to the node's rulesets,
// whoever makes them.
type writes struct {
	monitor *testnet.Process
	ended   chan struct{}

	tables  int // changes of a table itself: who owns it
	content int // elements, rules, chains and sets that were added or deleted
}

// countWrites listens until stop.
func (s *stage) countWrites() (*writes, error) {
	cmd := exec.Command("nft", "monitor")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // Ctrl-C on the terminal is for the demo
	r, w := io.Pipe()
	cmd.Stdout = w
	monitor, err := s.node.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("listen to changes of the ruleset: %w", err)
	}
	go func() {
		<-monitor.Done()
		w.CloseWithError(io.EOF)
	}()
	count := &writes{monitor: monitor, ended: make(chan struct{})}
	go count.run(r)
	return count, nil
}

func (w *writes) run(r io.Reader) {
	defer close(w.ended)
	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		switch line := scanner.Text(); {
		case line == "", strings.HasPrefix(line, "#"): // the generation that a commit made
		case strings.HasPrefix(line, "add table"), strings.HasPrefix(line, "delete table"):
			w.tables++
		default:
			w.content++
		}
	}
}

// stop ends listening; then the counts may be read.
func (w *writes) stop() error {
	err := w.monitor.Kill()
	<-w.ended
	return err
}
