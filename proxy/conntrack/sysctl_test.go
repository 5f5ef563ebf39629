package conntrack

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// proc makes a directory that looks as /proc/sys does.
func proc(t *testing.T, values map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "net/netfilter")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		if err := os.WriteFile(filepath.Join(dir, "nf_conntrack_"+name), []byte(v+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func values(t *testing.T, root string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "net/netfilter/nf_conntrack_*"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(filepath.Base(f), "nf_conntrack_")] = strings.TrimSpace(string(b))
	}
	return got
}

func TestSysctls(t *testing.T) {
	scaled := strconv.Itoa(1000 * onlineCPUs())
	linux := map[string]string{
		"max": "200", "buckets": "50", "tcp_timeout_established": "432000", "tcp_timeout_close_wait": "60",
		"tcp_be_liberal": "0", "udp_timeout": "30", "udp_timeout_stream": "120",
	}
	for _, c := range []struct {
		what    string
		sysctls Sysctls
		changed map[string]string
	}{
		{"nothing", Sysctls{}, nil},
		{"Min without MaxPerCore", Sysctls{Min: 9999}, nil},
		{"per core", Sysctls{MaxPerCore: 1000, Min: 1000}, map[string]string{"max": scaled, "buckets": strconv.Itoa(250 * onlineCPUs())}},
		{"at least", Sysctls{MaxPerCore: 1, Min: 8000}, map[string]string{"max": "8000", "buckets": "2000"}},
		{"never lowered", Sysctls{MaxPerCore: 1, Min: 100}, nil},
		{"never lowered, but buckets raised", Sysctls{MaxPerCore: 1, Min: 200}, map[string]string{"buckets": "50"}},
		{
			"timeouts",
			Sysctls{TCPEstablishedTimeout: time.Hour, TCPCloseWaitTimeout: time.Minute, UDPTimeout: time.Millisecond, UDPStreamTimeout: 90 * time.Second},
			map[string]string{"tcp_timeout_established": "3600", "udp_timeout": "1", "udp_timeout_stream": "90"},
		},
		{"be liberal", Sysctls{TCPBeLiberal: true}, map[string]string{"tcp_be_liberal": "1"}},
	} {
		root := proc(t, linux)
		if errs := c.sysctls.Apply(root); len(errs) > 0 {
			t.Errorf("%s: %v", c.what, errs)
		}
		want := map[string]string{}
		for name, v := range linux {
			want[name] = v
		}
		for name, v := range c.changed {
			want[name] = v
		}
		if diff := cmp.Diff(want, values(t, root)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

// The values kube-proxy would set, by the number of CPUs.
func TestDefaultSysctls(t *testing.T) {
	d := DefaultSysctls()
	for cpus, want := range map[int]int64{1: 131072, 4: 131072, 8: 262144, 32: 1048576, 512: 1048576} {
		if got := d.flows(cpus); got != want {
			t.Errorf("nf_conntrack_max with %d CPUs: %d; want %d", cpus, got, want)
		}
	}
	d.Min = 2 << 20
	if got := d.flows(512); got != 2<<20 {
		t.Errorf("nf_conntrack_max with 512 CPUs and a greater Min: %d; want Min", got)
	}
	if e, c := seconds(d.TCPEstablishedTimeout), seconds(d.TCPCloseWaitTimeout); e != 86400 || c != 3600 {
		t.Errorf("TCP timeouts %d s and %d s; want 86400 and 3600", e, c)
	}
}

func TestSysctlErrors(t *testing.T) {
	root := proc(t, map[string]string{"tcp_timeout_established": "garbage", "udp_timeout": "30"})
	errs := Sysctls{TCPEstablishedTimeout: time.Hour, TCPCloseWaitTimeout: time.Hour, UDPTimeout: time.Minute}.Apply(root)
	if len(errs) != 2 {
		t.Fatalf("errors %v; want 2", errs)
	}
	for _, want := range []string{"set sysctl net.netfilter.nf_conntrack_tcp_timeout_close_wait to 3600", "load the kernel module", "conntrack.tcpCloseWaitTimeout to 0s"} {
		if !strings.Contains(errs[1].Error(), want) {
			t.Errorf("error %q; want %q in it", errs[1], want)
		}
	}
	if got := values(t, root); got["udp_timeout"] != "60" {
		t.Errorf("after errors the others are not set: %v", got)
	}
}

// The real sysctls of a namespace. There nf_conntrack_max is read-only: no
// warning where it is right, and one that says so where it is not.
func TestSysctlsOfKernel(t *testing.T) {
	t.Parallel()
	node := testnet.ForTest(t, testnet.TwoNodes()).Host("node-a")
	apply := func(s Sysctls) (errs []error) {
		t.Helper()
		if err := node.Do(func() error { errs = s.Apply("/proc/sys"); return nil }); err != nil {
			t.Fatal(err)
		}
		return errs
	}
	if errs := apply(Sysctls{
		MaxPerCore: 1, Min: 1000, TCPEstablishedTimeout: 23 * time.Hour, TCPCloseWaitTimeout: time.Hour,
		TCPBeLiberal: true, UDPTimeout: 40 * time.Second, UDPStreamTimeout: 100 * time.Second,
	}); len(errs) > 0 {
		t.Errorf("warnings: %v", errs)
	}
	for name, want := range map[string]string{
		"tcp_timeout_established": "82800", "tcp_timeout_close_wait": "3600", "tcp_be_liberal": "1",
		"udp_timeout": "40", "udp_timeout_stream": "100",
	} {
		if got, err := node.Sysctl("net/netfilter/nf_conntrack_" + name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %s", name, got, err, want)
		}
	}
	errs := apply(Sysctls{MaxPerCore: 1, Min: 1 << 30, UDPTimeout: 1 << 62})
	if len(errs) != 3 {
		t.Fatalf("too great values: %v; want 3 warnings", errs)
	}
	if text := errs[0].Error(); !strings.Contains(text, "nf_conntrack_max to 1073741824 (mount /proc/sys writable") {
		t.Errorf("warning of a read-only value: %s", text)
	}
	if text := errs[2].Error(); !strings.Contains(text, "choose another") {
		t.Errorf("warning of a value out of range: %s", text)
	}
}

func TestCountCPUs(t *testing.T) {
	for list, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0-3,8,10-11\n": 7, "": 0, "x,3-1": 0} {
		if got := countCPUs(list); got != want {
			t.Errorf("countCPUs(%q) = %d; want %d", list, got, want)
		}
	}
}
