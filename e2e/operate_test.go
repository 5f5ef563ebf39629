package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/e2e/controlplane"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// vmap runs kube-vmap on a node as its operator would, and returns what it prints
// in one line.
func vmap(node string, args ...string) func() (string, error) {
	GinkgoHelper()
	binary, err := controlplane.FindBinary("", "kube-vmap")
	Expect(err).NotTo(HaveOccurred())
	return func() (string, error) {
		out, err := nodeHost(node).Run(binary, args...)
		GinkgoWriter.Printf("$ kube-vmap %s\n%s\n", strings.Join(args, " "), out)
		return strings.Join(strings.Fields(out), " "), err
	}
}

var _ = Describe("Operating", Label("operate", better), func() {
	w := newWorld("operate")

	// explains expects what explain says first. It exits with 1 where no connection
	// is forwarded, which Run tells as an error.
	explains := func(ctx SpecContext, forwarded bool, sentence string, args ...string) {
		GinkgoHelper()
		ask := vmap(nodeA, append([]string{"explain"}, args...)...)
		Eventually(func() string { out, _ := ask(); return out }).WithContext(ctx).Should(HavePrefix(sentence))
		_, err := ask()
		Expect(err == nil).To(Equal(forwarded), "exit code")
	}
	full := func() string { return w.namespace + "/web" }

	It("explains a working Service", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, from(podA), testnet.TCP, to, answeredBy("web-1", "web-2"))
		for _, a := range to {
			explains(ctx, true, "Connections to "+a.String()+"/TCP are forwarded: "+full()+" has 2 usable endpoints", a.String())
		}
	})

	It("explains a Service without endpoints", func(ctx SpecContext) {
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		for _, a := range to {
			explains(ctx, false, "Connections to "+a.String()+"/TCP are refused, since "+full()+" has no endpoints.", a.String())
		}
		expect(ctx, from(podA), testnet.TCP, to, refused)
	})

	It("explains by the API's objects where no agent answers", func(ctx SpecContext) {
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		must(ours("a kubeconfig with all rights").ControlPlane.Kubeconfig(kubeconfig))
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))[0].String()
		expect(ctx, from(podA), testnet.TCP, clusterIPsAt(w.service(ctx, "other", corev1.ServiceSpec{}), 80), refused)
		explains(ctx, false, "Connections to "+to+"/TCP are refused, since "+full()+" has no usable endpoint.", to, "--agent", "127.0.0.1:1")
		explains(ctx, false, "Connections to "+to+"/TCP are refused, since "+full()+" has no endpoints.",
			to, "--agent", "127.0.0.1:1", "--kubeconfig", kubeconfig, "--node-name", nodeA)
	})

	It("explains a Service with unready endpoints only", func(ctx SpecContext) {
		for _, p := range w.backends(ctx, "web", nodeA, nodeB) {
			must(p.SetReady(ctx, false))
		}
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		for _, a := range to {
			explains(ctx, false, "Connections to "+a.String()+"/TCP are refused, since none of the 2 endpoints of "+full()+" is ready.", a.String())
		}
		expect(ctx, from(podA), testnet.TCP, to, refused)
	})

	It("explains policy Local without a local endpoint", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		})
		to := nodePorts(service, nodeA)
		for _, a := range to {
			explains(ctx, true, "Connections to "+a.String()+"/TCP from pods and this node are forwarded: "+full()+
				" has 1 usable endpoint; from others are dropped, since externalTrafficPolicy of "+full()+
				" is Local, and no usable endpoint is on this node (on others: 1).", a.String())
		}
		expect(ctx, from(podA, hostA), testnet.TCP, to, answeredBy("web-1"))
		expect(ctx, from(client), testnet.TCP, to, silent)
	})

	It("explains source ranges", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		addrs := vips(nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerSourceRanges: []string{"203.0.113.0/24", "2001:db8:ffff::/64"},
		})
		w.setIngress(ctx, service, ingressOf(addrs...)...)
		ranges := map[bool]string{true: "203.0.113.0/24", false: "2001:db8:ffff::/64"}
		for i, a := range at(addrs, 80) {
			source := nodeHost(nodeB).Addrs()[i].String()
			explains(ctx, false, "Connections from "+source+" to "+a.String()+"/TCP are dropped, since loadBalancerSourceRanges of "+
				full()+" allow only "+ranges[a.Addr().Is4()]+".", a.String(), "--from", source)
		}
		expect(ctx, from(hostB, client), testnet.TCP, at(addrs, 80), silent)
	})

	It("explains an unused port of a cluster IP", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		for _, a := range clusterIPsAt(service, 81) {
			explains(ctx, false, "Connections to "+a.String()+"/TCP are refused, since "+a.Addr().String()+
				" is a cluster IP without a port 81/TCP: it has 80/TCP ("+full()+").", a.String())
		}
		expect(ctx, from(podA), testnet.TCP, clusterIPsAt(service, 81), refused)
	})

	It("counts the connections of a Service", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		connections := func() (total uint64, err error) {
			out, err := vmap(nodeA, "services", "-n", w.namespace, "web", "-o", "json")()
			var list []struct{ Connections uint64 }
			if err == nil {
				err = json.Unmarshal([]byte(out), &list)
			}
			for _, f := range list {
				total += f.Connections
			}
			return total, err
		}
		before, err := connections()
		Expect(err).NotTo(HaveOccurred())
		for range 5 {
			must(try(podA, testnet.TCP, clusterIPs(service)[0], answeredByOneOf("web-1")))
		}
		after, err := connections()
		Expect(err).NotTo(HaveOccurred())
		Expect(after - before).To(BeNumerically(">=", 5))
		Eventually(metric(ctx, hostA, "kube_vmap_service_port_connections_total", `namespace="`+w.namespace+`".*service="web"`)).
			WithContext(ctx).Should(BeNumerically(">=", after))
	})

	It("traces a connection", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA)
		to := clusterIPs(w.service(ctx, "web", corev1.ServiceSpec{}))
		expect(ctx, from(podA), testnet.TCP, to, answeredBy("web-1"))
		traced := make(chan string, 1)
		trace := vmap(nodeA, "trace", to[0].String(), "--timeout", "30s")
		go func() {
			defer GinkgoRecover()
			out, _ := trace()
			traced <- out
		}()
		tables := func() (string, error) { return nodeHost(nodeA).Run("nft", "list", "tables") }
		Eventually(tables).WithContext(ctx).Should(ContainSubstring("kube-vmap-trace"))
		must(try(podA, testnet.TCP, to[0], answeredByOneOf("web-1")))
		Eventually(traced).WithContext(ctx).Should(Receive(And(
			ContainSubstring("-> "+to[0].String()+"/TCP"), ContainSubstring("frontend vmap @services"), ContainSubstring("now "))))
		Eventually(tables).WithContext(ctx).ShouldNot(ContainSubstring("kube-vmap-trace"))
	})

	It("tells the status, finds no difference, and collects a bundle", func(ctx SpecContext) {
		Eventually(vmap(nodeA, "status")).WithContext(ctx).Should(HavePrefix("healthy: kube-vmap"))
		Eventually(vmap(nodeA, "diff")).WithContext(ctx).Should(Equal("the table is what the objects ask for"))
		out, err := nodeHost(nodeA).Run("sh", "-c", bundleListing)
		Expect(err).NotTo(HaveOccurred())
		for _, file := range []string{"status.json", "ruleset.nft", "desired.nft", "metrics.txt", "log.txt"} {
			Expect(out).To(ContainSubstring("/" + file))
		}
		Expect(out).NotTo(ContainSubstring("errors.txt"))
	})
})

// bundleListing lists what a support bundle holds.
const bundleListing = `../bin/kube-vmap support-bundle --file - | tar tzf -`
