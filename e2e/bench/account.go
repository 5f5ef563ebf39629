package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// account counts the processor time of a group of processes, those that have
// ended included: a control group of either version.
type account struct {
	dir  string
	join string // the file that takes the id of a process
	read func(dir string) (time.Duration, error)
}

func newAccount(name string) (account, error) {
	name = fmt.Sprintf("bench-%s-%d", name, os.Getpid())
	a := account{dir: filepath.Join("/sys/fs/cgroup/cpuacct", name), read: readCPUAcct}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		a = account{dir: filepath.Join("/sys/fs/cgroup", name), read: readCPUStat}
	}
	a.join = filepath.Join(a.dir, "cgroup.procs")
	if err := os.Mkdir(a.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return a, fmt.Errorf("make control group to count processor time: %w", err)
	}
	return a, nil
}

func (a account) cpu() (time.Duration, error) { return a.read(a.dir) }

// close removes the group, once its processes are gone.
func (a account) close() (err error) {
	for range 100 {
		if err = os.Remove(a.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove control group: %w", err)
}

// readCPUAcct reads cpuacct.usage of version 1, in nanoseconds.
func readCPUAcct(dir string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return time.Duration(n), err
}

// readCPUStat reads usage_usec of version 2.
func readCPUStat(dir string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("read processor time: %s/cpu.stat has no usage_usec", dir)
}

// memorySampler follows the resident memory of a group of processes.
type memorySampler struct {
	account account
	pid     int // of the agent itself
	quit    chan struct{}
	task    sync.WaitGroup

	mu   sync.Mutex
	peak int64
}

// memoryPeriod is how often memory is looked at: an nft that loads a large
// ruleset lives for seconds. The peak of the agent itself is the kernel's VmHWM.
const memoryPeriod = 20 * time.Millisecond

func (a account) sampleMemory(pid int) *memorySampler {
	m := &memorySampler{account: a, pid: pid, quit: make(chan struct{})}
	m.task.Go(func() {
		tick := time.NewTicker(memoryPeriod)
		defer tick.Stop()
		for {
			select {
			case <-m.quit:
				return
			case <-tick.C:
				sum := m.resident()
				m.mu.Lock()
				m.peak = max(m.peak, sum)
				m.mu.Unlock()
			}
		}
	})
	return m
}

func (m *memorySampler) stop() {
	close(m.quit)
	m.task.Wait()
}

// resident is VmRSS of the group, in bytes.
func (m *memorySampler) resident() (sum int64) {
	for _, pid := range m.account.members() {
		sum += statusField(pid, "VmRSS:")
	}
	return sum
}

// highest is the peak of the group: of the samples of its sum, and of the agent alone.
func (m *memorySampler) highest() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.peak, statusField(m.pid, "VmHWM:"))
}

// members are the processes of the group now.
func (a account) members() (pids []int) {
	b, _ := os.ReadFile(a.join) // gone: none
	for field := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// statusField reads a size in bytes from /proc/PID/status, 0 if the process is gone.
func statusField(pid int, field string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
