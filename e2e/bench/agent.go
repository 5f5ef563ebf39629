package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// AgentKind is one of the two programs that are compared.
type AgentKind int

// The programs.
const (
	KubeVmap AgentKind = iota
	KubeProxy
)

// kinds are the programs in the order in which they are measured.
var kinds = []AgentKind{KubeVmap, KubeProxy}

func (k AgentKind) String() string { return [...]string{"kube-vmap", "kube-proxy"}[k] }

// MarshalText makes the program's name the key in JSON.
func (k AgentKind) MarshalText() ([]byte, error) { //nolint:unparam // encoding.TextMarshaler
	return []byte(k.String()), nil
}

// UnmarshalText is the reverse.
func (k *AgentKind) UnmarshalText(text []byte) error {
	for _, kind := range kinds {
		if kind.String() == string(text) {
			*k = kind
			return nil
		}
	}
	return fmt.Errorf("parse agent: %q is none of %v", text, kinds)
}

// table is the family and name of the table of Services in IPv4.
func (k AgentKind) table() (family byte, name string) {
	if k == KubeVmap {
		return unix.NFPROTO_INET, "kube-vmap"
	}
	return unix.NFPROTO_IPV4, "kube-proxy"
}

// setDormant takes the agent's table out of the way of packets, or puts it back.
// The agent has ended.
func (t tables) setDormant(k AgentKind, dormant bool) error {
	family, name := k.table()
	flags := uint32(0)
	if k == KubeVmap {
		flags = tablePersistent // as its owner left it
	}
	if dormant {
		flags |= tableDormant
	}
	if err := t.send(func(m *message) { m.table(family, name, flags) }); err != nil {
		return fmt.Errorf("change the table of %s: %w", k, err)
	}
	return nil
}

// args are the arguments on a node.
func (k AgentKind) args(kubeconfig string) []string {
	if k == KubeVmap {
		return []string{"run", "--kubeconfig=" + kubeconfig, "--node-name=" + k.String(),
			"--cluster-cidr=" + podCIDRs, "--profiling"}
	}
	return []string{"--proxy-mode=nftables", "--kubeconfig=" + kubeconfig, "--hostname-override=" + k.String(),
		"--cluster-cidr=" + podCIDRs, "--conntrack-max-per-core=0"} // a namespace can't set it
}

// version asks the binary.
func (k AgentKind) version() string {
	path, err := controlplane.FindBinary("", k.String())
	if err != nil {
		return err.Error()
	}
	arg := "--version"
	if k == KubeVmap {
		arg = "version"
	}
	out, err := exec.Command(path, arg).Output()
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// Agent is a running program on its node.
type Agent struct {
	kind    AgentKind
	started time.Time
	process *testnet.Process
	account account
	memory  *memorySampler
}

// startAgent starts a program in a group of its own, so that the processor time
// of its children counts, whenever they end.
func startAgent(w *World, kind AgentKind) (*Agent, error) {
	binary, err := controlplane.FindBinary("", kind.String())
	if err != nil {
		return nil, err
	}
	a := &Agent{kind: kind}
	if a.account, err = newAccount(kind.String()); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(w.logs, kind.String()+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", kind, err)
	}
	defer log.Close()
	args := append([]string{"-c", `echo $$ > "$0" && exec "$@"`, a.account.join, binary}, kind.args(w.kubeconfig)...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdout, cmd.Stderr = log, log
	a.started = time.Now()
	if a.process, err = w.node(kind).Start(cmd); err != nil {
		return nil, err
	}
	a.memory = a.account.sampleMemory(a.process.PID())
	return a, nil
}

// stop ends the program and leaves what it programmed.
func (a *Agent) stop() error {
	a.memory.stop()
	if err := a.process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-a.process.Done():
	case <-time.After(30 * time.Second):
		if err := a.process.Kill(); err != nil {
			return err
		}
	}
	return a.account.close()
}

// ended reports an agent that runs no more.
func (a *Agent) ended() error {
	select {
	case <-a.process.Done():
		return fmt.Errorf("%s has ended: %v: see its log", a.kind, a.process.Wait()) //nolint:errorlint // nil if it gave 0
	default:
		return nil
	}
}

// settle waits until the program has done nothing for a while, and returns its
// processor time until then.
func (a *Agent) settle(limit time.Duration) (time.Duration, error) {
	const window, idle = 500 * time.Millisecond, 10 * time.Millisecond
	quiet := 0
	last, err := a.account.cpu()
	for deadline := time.Now().Add(limit); err == nil && quiet < 4 && time.Now().Before(deadline); {
		time.Sleep(window)
		var now time.Duration
		if now, err = a.account.cpu(); now-last > idle {
			quiet = 0
		} else {
			quiet++
		}
		last = now
		if ended := a.ended(); ended != nil {
			return last, ended
		}
	}
	return last, err
}
