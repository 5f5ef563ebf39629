package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// The size of a large cluster, and what the agent's memory may be there, in MB.
const (
	manyServices  = 10_000
	manyEndpoints = 10 // of each Service
	mostResident  = 120
	mostPeak      = 200
)

var _ = Describe("Large clusters", Label(scale), func() {
	// Its namespace goes with the cluster: to empty it takes minutes.
	w := &world{}
	BeforeEach(func(ctx SpecContext) {
		var err error
		w.namespace, err = ours("room for many Services").CreateNamespace(ctx, "scale")
		Expect(err).NotTo(HaveOccurred())
	})

	It(fmt.Sprintf("%d Services with %d endpoints each take little memory", manyServices, manyEndpoints), Label(better), SpecTimeout(10*time.Minute), PollProgressAfter(8*time.Minute), func(ctx SpecContext) {
		w.fill(ctx)
		backend := w.pod(ctx, "web", cluster.PodSpec{Name: "web-1", Node: nodeB})
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		node := ours("agents to restart").Node(nodeA)
		DeferCleanup(func(ctx SpecContext) {
			must(node.StopAgent())
			must(node.StartAgent(ctx, agent))
		})

		// From nothing, as on a new node.
		must(node.StopAgent())
		_, err := node.Host.Run("nft", "flush", "ruleset")
		must(err)
		began := time.Now()
		must(node.Launch(ctx, agent))
		Eventually(metric(ctx, hostA, "kube_vmap_ready", "")).WithContext(ctx).WithTimeout(2 * time.Minute).Should(Equal(1.0))
		first := time.Since(began)
		resident, peak := memory(node.Agent().PID())
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy(backend.Name()))
		AddReportEntry("memory", fmt.Sprintf("complete after %v: %d MB resident, %d MB at the peak", first.Round(time.Millisecond), resident, peak))

		// A change is as quick as in a small cluster, and a restart as small.
		w.pod(ctx, "web", cluster.PodSpec{Name: "web-2", Node: nodeA})
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy("web-1", "web-2"))
		must(node.StopAgent())
		must(node.Launch(ctx, agent))
		Eventually(metric(ctx, hostA, "kube_vmap_ready", "")).WithContext(ctx).WithTimeout(2 * time.Minute).Should(Equal(1.0))
		again, peakAgain := memory(node.Agent().PID())
		AddReportEntry("memory", fmt.Sprintf("after a restart: %d MB resident, %d MB at the peak", again, peakAgain))

		Expect(max(resident, again)).To(BeNumerically("<", mostResident), "MB resident")
		Expect(max(peak, peakAgain)).To(BeNumerically("<", mostPeak), "MB at the peak")
	})
})

// fill makes the Services of a large cluster, with slices written by hand.
func (w *world) fill(ctx context.Context) {
	GinkgoHelper()
	var (
		wg      sync.WaitGroup
		numbers = make(chan int)
		failed  = make(chan error, 1)
	)
	for range 8 {
		wg.Go(func() {
			for n := range numbers {
				if err := w.addLarge(ctx, n); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for n := range manyServices {
		numbers <- n
	}
	close(numbers)
	wg.Wait()
	close(failed)
	must(<-failed)
}

func (w *world) addLarge(ctx context.Context, n int) error {
	name := fmt.Sprintf("large-%d", n)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	if _, err := w.services().Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	var endpoints []discoveryv1.Endpoint
	for i := range manyEndpoints {
		k := n*manyEndpoints + i
		node := []string{nodeA, nodeB}[i%2]
		zone := []string{"zone-a", "zone-b"}[i%2]
		endpoints = append(endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+k>>16, k>>8&255, k&255)}, NodeName: &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: w.namespace, Name: fmt.Sprintf("%s-%d", name, i)},
		})
	}
	slice := handmade(name, testnet.IPv4, "http", 8080, endpoints)
	_, err := api().DiscoveryV1().EndpointSlices(w.namespace).Create(ctx, slice, metav1.CreateOptions{})
	return err
}

// memory is what a process has resident, now and at its peak, in MB.
func memory(pid int) (resident, peak int) {
	GinkgoHelper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	must(err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kilobytes, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			resident = kilobytes * 1024 / 1_000_000
		case "VmHWM":
			peak = kilobytes * 1024 / 1_000_000
		}
	}
	Expect(resident).NotTo(BeZero())
	return resident, peak
}
