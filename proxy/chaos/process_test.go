package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// agent is what keeps the table.
type agent interface {
	// start starts it, with a clock that is ahead by so many seconds and a memory
	// limit in MiB (0: none), and returns before it has done anything.
	start(ahead, memory int) error
	// ready waits until the table is complete.
	ready(ctx context.Context) error
	// stop ends it and waits: at once, or as SIGTERM does.
	stop(atOnce bool) error
	// suspend stops it from doing anything, or lets it go on.
	suspend(bool) error
	// health tells what is wrong with it, and how many repairs it has told of.
	health() (repairs int, problems []string)
}

// process is the program in the node's namespace.
type process struct {
	node    *testnet.Host
	binary  string
	args    []string
	current *testnet.Process
	log     *log
	past    []*log
	ending  bool
	files   int // open at the first look at this process
	grown   int // most by which that number had grown at a later look
	strange []string
}

// newProcess takes the objects from where the flag says: --manifests or --kubeconfig.
func newProcess(node *testnet.Host, binary, objects, ownership string) *process {
	return &process{node: node, binary: binary, args: []string{
		"run", objects, "--node-name", "node-a", "--detect-local-mode", "NodeCIDR",
		"--nodeport-addresses", "192.0.2.0/24,2001:db8:2::/64", "--table-ownership", ownership,
		"--conntrack-max-per-core", "0", "-v", "2",
	}}
}

func (p *process) start(ahead, memory int) error {
	cmd := exec.Command(p.binary, p.args...)
	cmd.Env = os.Environ()
	if ahead > 0 {
		// This program starts the other one with the clock set: see init below.
		cmd = exec.Command("/proc/self/exe", append([]string{p.binary}, p.args...)...)
		cmd.Env = append(os.Environ(), aheadVariable+"="+strconv.Itoa(ahead))
	}
	if memory > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%dMiB", memory))
	}
	r, w := io.Pipe()
	cmd.Stderr = w
	var err error
	if p.current, err = p.node.Start(cmd); err != nil {
		return err
	}
	p.log, p.ending, p.files = newLog(r), false, 0
	p.past = append(p.past, p.log)
	current := p.current
	go func() {
		<-current.Done()
		w.CloseWithError(io.EOF)
	}()
	return nil
}

func (p *process) ready(ctx context.Context) error {
	if err := p.log.await(ctx, "table is complete"); err != nil {
		return fmt.Errorf("the agent is not ready: %w; its log ends with %q", err, p.log.tail())
	}
	return nil
}

func (p *process) stop(atOnce bool) error {
	p.ending = true
	if atOnce {
		return p.current.Kill()
	}
	if err := p.current.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.current.Done():
	case <-time.After(time.Minute):
		return errors.New("the agent does not end on SIGTERM")
	}
	if err := p.current.Wait(); err != nil {
		p.strange = append(p.strange, fmt.Sprintf("the agent ended on SIGTERM with %v", err))
	}
	return nil
}

func (p *process) suspend(yes bool) error {
	if yes {
		return p.current.Signal(unix.SIGSTOP)
	}
	return p.current.Signal(unix.SIGCONT)
}

// settled looks at the open files of an agent that has nothing to do: the more
// there are the longer it runs, the more it leaks.
func (p *process) settled() error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.current.PID()))
	if err != nil {
		return err
	}
	if p.files == 0 {
		p.files = len(entries)
	}
	p.grown = max(p.grown, len(entries)-p.files)
	return nil
}

func (p *process) health() (repairs int, problems []string) {
	for _, l := range p.past {
		n, bad := l.summary()
		repairs += n
		problems = append(problems, bad...)
	}
	if !p.ending {
		select {
		case <-p.current.Done():
			problems = append(problems, fmt.Sprintf("the agent has ended by itself: %v: %s", p.current.Wait(), p.log.tail()))
		default:
		}
	}
	// Sockets that are opened when they are first needed are no leak.
	if lazily := 4; p.grown > lazily {
		problems = append(problems, fmt.Sprintf("an agent had %d files open more than at first", p.grown))
	}
	return repairs, append(problems, p.strange...)
}

// log is what an agent said.
type log struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{} // closed at the next line
	ended bool
}

func newLog(r io.Reader) *log {
	l := &log{news: make(chan struct{})}
	go func() {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			l.add(scanner.Text(), false)
		}
		l.add("", true)
	}()
	return l
}

func (l *log) add(line string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ended {
		l.lines = append(l.lines, line)
	}
	l.ended = ended
	close(l.news)
	l.news = make(chan struct{})
}

func (l *log) await(ctx context.Context, text string) error {
	for seen := 0; ; {
		l.mu.Lock()
		lines, news, ended := l.lines[seen:], l.news, l.ended
		l.mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, text) {
				return nil
			}
		}
		seen += len(lines)
		if ended {
			return errors.New("it has ended")
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *log) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-5):], "\n")
}

// summary counts repairs, and quotes what no agent should say.
func (l *log) summary() (repairs int, bad []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, line := range l.lines {
		if containsRepair(line) {
			repairs++
		}
		for _, word := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(line, word) {
				bad = append(bad, strings.Join(l.lines[i:min(len(l.lines), i+30)], "\n"))
			}
		}
	}
	return repairs, bad
}

// aheadVariable makes this program another one, in a time namespace whose
// monotonic clock is ahead by so many seconds.
const aheadVariable = "CHAOS_CLOCK_AHEAD"

func init() {
	ahead := os.Getenv(aheadVariable)
	if ahead == "" {
		return
	}
	_ = os.Unsetenv(aheadVariable) // the other one may be this one
	runtime.LockOSThread()
	if err := setClock(ahead); err != nil {
		fmt.Fprintln(os.Stderr, "the clock stays as it is:", err)
	}
	err := unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	fmt.Fprintln(os.Stderr, "run", os.Args[1:], err)
	os.Exit(127)
}

// canSetClock reports whether a program that was started with another clock can run:
// some kernels, 6.1 for one, do not enter the time namespace at an exec, and then
// refuse to make threads.
var canSetClock = sync.OnceValue(func() bool {
	cmd := exec.Command("/proc/self/exe", "/proc/self/exe", "-test.list", "^$")
	cmd.Env = append(os.Environ(), aheadVariable+"=3600")
	return cmd.Run() == nil
})

// setClock makes a time namespace for the program that this process becomes
// (time_namespaces(7)).
func setClock(ahead string) error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return err
	}
	offsets := fmt.Sprintf("monotonic %s 0\nboottime %s 0\n", ahead, ahead)
	return os.WriteFile("/proc/self/timens_offsets", []byte(offsets), 0)
}
