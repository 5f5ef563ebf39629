package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holdControllers stops kube-controller-manager where it is: nothing here has a
// selector or needs it, and it would share the processors with what is measured.
func holdControllers() error {
	const name = "kube-controller" // as the kernel cuts it
	held := 0
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		comm, rest, ok := cutStat(string(b))
		if !ok || comm != name || rest[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return fmt.Errorf("hold kube-controller-manager: %w", err)
		}
		held++
	}
	if held == 0 {
		return fmt.Errorf("hold kube-controller-manager: there is no such child")
	}
	return nil
}

// cutStat splits /proc/PID/stat into the name and what follows it: state, parent ...
func cutStat(line string) (comm string, rest []string, ok bool) {
	_, line, ok = strings.Cut(line, "(")
	end := strings.LastIndex(line, ")")
	if !ok || end < 0 {
		return "", nil, false
	}
	rest = strings.Fields(line[end+1:])
	return line[:end], rest, len(rest) > 1
}
