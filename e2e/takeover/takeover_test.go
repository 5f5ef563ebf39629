// Package takeover tests how a node goes over from a real kube-proxy to kube-vmap,
// in each way in which kube-proxy programs the kernel.
package takeover

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// ownChains match lines of chains and tables that are kube-proxy's: all that begin
// as its do but for the kubelet's KUBE-FIREWALL, which kube-proxy writes, too, and
// leaves.
var ownChains = regexp.MustCompile(`(?m)^.*(table ip6? kube-proxy|KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|MARK-MASQ|PROXY-|SVC-|SEP-|EXT-|FW-|SVL-)).*$`)

// rulesets are the ways to program the kernel, and how to list what is there.
var rulesets = []struct {
	name     string
	args     []string
	programs string // what the programs iptables and ip6tables are, if kube-proxy calls them
	list     []string
}{
	{"nftables", []string{"--proxy-mode=nftables"}, "", []string{"nft list ruleset"}},
	{"iptables-nft", []string{"--proxy-mode=iptables"}, "xtables-nft-multi", []string{"iptables-nft-save", "ip6tables-nft-save"}},
	{"iptables-legacy", []string{"--proxy-mode=iptables"}, "xtables-legacy-multi", []string{"iptables-legacy-save", "ip6tables-legacy-save"}},
}

// TestTakeover: while new and long-lived connections run, kube-vmap starts beside
// kube-proxy, kube-proxy ends, and its leftovers are removed. No connection fails.
func TestTakeover(t *testing.T) {
	for _, r := range rulesets {
		t.Run(r.name, func(t *testing.T) {
			if r.programs != "" {
				choosePrograms(t, r.programs)
			}
			c := cluster.ForTest(t, cluster.Options{Agent: cluster.KubeProxy().With(r.args...)})
			node := c.Node("node-a")
			load := startLoad(t, c)
			load.advance(t, 50)

			startBeside(t, c, node)
			load.advance(t, 100)
			if err := node.StopAgent(); err != nil {
				t.Fatal(err)
			}
			load.advance(t, 50)
			if before := listing(t, node.Host, r.list); !ownChains.MatchString(before) {
				t.Fatalf("kube-proxy left nothing:\n%s", before)
			}
			t.Logf("%s", lastLine(run(t, node.Host, "kube-vmap", "cleanup", "--kube-proxy")))
			if left := ownChains.FindString(listing(t, node.Host, r.list)); left != "" {
				t.Errorf("left: %s", left)
			}
			if again := run(t, node.Host, "kube-vmap", "cleanup", "--kube-proxy"); again != "nothing of kube-proxy is there\n" {
				t.Errorf("a second cleanup: %s", again)
			}
			load.advance(t, 100)
			load.end(t)
		})
	}
}

// choosePrograms makes iptables, ip6tables and the like be those of a backend for
// processes that are started from now on.
func choosePrograms(t *testing.T, multi string) {
	t.Helper()
	target, err := exec.LookPath(multi)
	if err != nil {
		t.Fatalf("find %s (make setup installs it): %v", multi, err)
	}
	dir := t.TempDir()
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Symlink(target, filepath.Join(dir, family+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func listing(t *testing.T, host *testnet.Host, programs []string) string {
	t.Helper()
	var all strings.Builder
	for _, p := range programs {
		words := strings.Fields(p)
		out, err := host.Run(words[0], words[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(out)
	}
	return all.String()
}

// run runs a binary of the suite on a host.
func run(t *testing.T, host *testnet.Host, name string, args ...string) string {
	t.Helper()
	binary, err := controlplane.FindBinary("", name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := host.Run(binary, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return fmt.Sprintf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
}

// startBeside starts kube-vmap on a node on which another agent runs, and waits
// until its table is complete.
func startBeside(t *testing.T, c *cluster.Cluster, node *cluster.Node) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "admin.conf")
	if err := c.ControlPlane.Kubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	binary, err := controlplane.FindBinary("", "kube-vmap")
	if err != nil {
		t.Fatal(err)
	}
	cidrs := cluster.PodCIDRs()
	log := &lines{}
	cmd := exec.Command(binary, "run", "--kubeconfig="+kubeconfig, "--node-name="+node.Name,
		fmt.Sprintf("--cluster-cidr=%s,%s", cidrs[0], cidrs[1]))
	cmd.Stdout, cmd.Stderr = log, log
	if _, err := node.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "table is complete"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("kube-vmap's table is not complete:\n%s", log)
		}
	}
}

// load is what clients do all the time.
type load struct {
	cancel context.CancelFunc
	floods map[string]*testnet.Flood
	holds  map[string]*testnet.Hold
}

// startLoad makes a Service with a pod on each node, and connects to it through
// node-a in every way.
func startLoad(t *testing.T, c *cluster.Cluster) *load {
	t.Helper()
	namespace, err := c.CreateNamespace(t.Context(), "takeover")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "web"}
	for name, node := range map[string]string{"a": "node-a", "b": "node-b"} {
		if _, err := c.RunPod(t.Context(), cluster.PodSpec{Namespace: namespace, Name: name, Node: node, Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	source, err := c.RunPod(t.Context(), cluster.PodSpec{Namespace: namespace, Name: "source", Node: "node-a"})
	if err != nil {
		t.Fatal(err)
	}
	service := createService(t, c, namespace, labels)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &load{cancel: cancel, floods: map[string]*testnet.Flood{}, holds: map[string]*testnet.Hold{}}
	for i, ip := range service.Spec.ClusterIPs {
		clusterIP := netip.AddrPortFrom(netip.MustParseAddr(ip), 80)
		nodePort := netip.AddrPortFrom(c.Node("node-a").Host.Addrs()[i], uint16(service.Spec.Ports[0].NodePort))
		l.connect(t, ctx, source.Host, clusterIP)
		l.connect(t, ctx, c.Node("node-a").Host, clusterIP)
		l.connect(t, ctx, c.Lab.Host("client"), nodePort)
	}
	return l
}

func createService(t *testing.T, c *cluster.Cluster, namespace string, selector map[string]string) *corev1.Service {
	t.Helper()
	policy := corev1.IPFamilyPolicyRequireDualStack
	service, err := c.Client().CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: selector, IPFamilyPolicy: &policy,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// connect waits until a frontend answers from both pods, floods it, and holds
// conversations through it.
func (l *load) connect(t *testing.T, ctx context.Context, from *testnet.Host, to netip.AddrPort) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		d := from.Distribution(testnet.TCP, to, 20)
		if len(d.Failed) == 0 && len(d.Servers) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s -> %s: %+v", from.Name(), to, d)
		}
	}
	name := fmt.Sprintf("%s -> %s", from.Name(), to)
	hold, err := from.Hold(ctx, testnet.HoldOptions{Dst: to, Connections: 5})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	l.holds[name] = hold
	l.floods[name] = from.Flood(ctx, testnet.FloodOptions{Dst: to, Workers: 2, Rate: 200})
}

// advance waits until each flood has opened n more connections, or failed.
func (l *load) advance(t *testing.T, n uint64) {
	t.Helper()
	begin := map[string]uint64{}
	for name, f := range l.floods {
		begin[name] = f.Report().Opened
	}
	deadline := time.Now().Add(time.Minute)
	for name, f := range l.floods {
		for f.Report().Opened < begin[name]+n {
			if r := f.Report(); r.Failed > 0 || time.Now().After(deadline) {
				t.Fatalf("%s: %s", name, r)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// end ends the load and checks that nothing failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.cancel()
	var opened, pings uint64
	for name, f := range l.floods {
		r := f.Wait()
		opened += r.Opened
		if r.Failed > 0 {
			t.Errorf("%s: %s", name, r)
		}
	}
	for name, h := range l.holds {
		r := h.Wait()
		pings += r.Pings
		if r.Failed > 0 || r.Pings == 0 {
			t.Errorf("%s: %s", name, r)
		}
	}
	t.Logf("%d connections opened and %d pings in long-lived ones", opened, pings)
}
