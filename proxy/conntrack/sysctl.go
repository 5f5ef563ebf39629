package conntrack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sysctls are the settings of conntrack below net.netfilter. Durations are whole
// seconds, rounded up. What is 0 or false is left as it is.
type Sysctls struct {
	// MaxPerCore and Min set nf_conntrack_max, the most flows there can be: to
	// MaxPerCore for each CPU that is online, 1,048,576 at most, but at least Min.
	// It is only ever raised, and with it the number of hash buckets
	// (nf_conntrack_buckets), to a quarter of it. MaxPerCore 0 leaves both, whatever
	// Min is.
	MaxPerCore int32
	Min        int32

	TCPEstablishedTimeout time.Duration // nf_conntrack_tcp_timeout_established
	TCPCloseWaitTimeout   time.Duration // nf_conntrack_tcp_timeout_close_wait
	TCPBeLiberal          bool          // nf_conntrack_tcp_be_liberal
	UDPTimeout            time.Duration // nf_conntrack_udp_timeout
	UDPStreamTimeout      time.Duration // nf_conntrack_udp_timeout_stream
}

// DefaultSysctls are the defaults of kube-proxy: 32,768 flows for each CPU, at
// least 131,072; established TCP connections time out after 24 hours without a
// packet, half-closed ones after 1 hour.
func DefaultSysctls() Sysctls {
	return Sysctls{
		MaxPerCore: 32 << 10, Min: 128 << 10,
		TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour,
	}
}

// mostFlows bounds what MaxPerCore comes to on machines with many CPUs, as in
// kube-proxy: a flow takes some 300 bytes that are never swapped out.
const mostFlows = 1 << 20

// sysctl is one value to be set.
type sysctl struct {
	name  string // below net/netfilter
	value int64
	raise bool   // a greater value is fine
	field string // of the configuration, and how it leaves the value alone
}

// Apply sets what is not set yet below root, "/proc/sys". Each error is a warning
// that names the sysctl, the value and what to do; the others are set all the
// same. What is right already is not written: where /proc/sys is read-only and the
// values are right there is no error. The sysctls exist once something uses
// conntrack in the namespace, such as the table's rules.
func (s Sysctls) Apply(root string) []error {
	var errs []error
	for _, v := range s.list(onlineCPUs()) {
		if err := v.apply(root); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (s Sysctls) list(cpus int) []sysctl {
	flows := s.flows(cpus)
	list := []sysctl{
		{"nf_conntrack_max", flows, true, "conntrack.maxPerCore to 0"},
		{"nf_conntrack_buckets", flows / 4, true, "conntrack.maxPerCore to 0"},
		{"nf_conntrack_tcp_timeout_established", seconds(s.TCPEstablishedTimeout), false, "conntrack.tcpEstablishedTimeout to 0s"},
		{"nf_conntrack_tcp_timeout_close_wait", seconds(s.TCPCloseWaitTimeout), false, "conntrack.tcpCloseWaitTimeout to 0s"},
		{"nf_conntrack_udp_timeout", seconds(s.UDPTimeout), false, "conntrack.udpTimeout to 0s"},
		{"nf_conntrack_udp_timeout_stream", seconds(s.UDPStreamTimeout), false, "conntrack.udpStreamTimeout to 0s"},
	}
	if s.TCPBeLiberal {
		list = append(list, sysctl{"nf_conntrack_tcp_be_liberal", 1, false, "conntrack.tcpBeLiberal to false"})
	}
	wanted := list[:0]
	for _, v := range list {
		if v.value > 0 {
			wanted = append(wanted, v)
		}
	}
	return wanted
}

// flows is what nf_conntrack_max should be, 0 to leave it.
func (s Sysctls) flows(cpus int) int64 {
	if s.MaxPerCore <= 0 {
		return 0
	}
	return max(min(int64(s.MaxPerCore)*int64(cpus), mostFlows), int64(s.Min))
}

// seconds rounds up: 0 would end flows at once.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (v *sysctl) apply(root string) error {
	path := filepath.Join(root, "net/netfilter", v.name)
	have, err := readNumber(path)
	if err == nil {
		if have == v.value || v.raise && have > v.value {
			return nil
		}
		err = writeNumber(path, v.value)
	}
	if err != nil {
		return fmt.Errorf("set sysctl net.netfilter.%s to %d (%s, or set %s to leave it): %w", v.name, v.value, v.remedy(err), v.field, err)
	}
	return nil
}

// remedy says what to do about an error.
func (v *sysctl) remedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return "load the kernel module nf_conntrack"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return "the kernel does not take this value, choose another"
	}
	return fmt.Sprintf("mount /proc/sys writable and run in the host's network namespace, or run `sysctl -w net.netfilter.%s=%d` on the host", v.name, v.value)
}

func readNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// writeNumber writes to a file that exists.
func writeNumber(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(n, 10))
	return errors.Join(err, f.Close())
}

// onlineCPUs counts the machine's CPUs: those that this process may use
// (runtime.NumCPU) can be fewer, in a container bound to some of them.
func onlineCPUs() int {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return runtime.NumCPU()
	}
	return max(countCPUs(string(b)), runtime.NumCPU())
}

// countCPUs counts a list such as "0-3,8" (Documentation/admin-guide/cputopology.rst);
// what it can't read counts nothing.
func countCPUs(list string) int {
	n := 0
	for r := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, ok := strings.Cut(r, "-")
		if !ok {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && a <= b {
			n += b - a + 1
		}
	}
	return n
}
