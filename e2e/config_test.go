package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// kubectl runs kubectl with all rights, beside the API server.
func kubectl(args ...string) (string, error) {
	GinkgoHelper()
	binary, err := filepath.Abs("../bin/kubectl")
	Expect(err).NotTo(HaveOccurred())
	out, err := nodeHost(nodeA).Run(binary, append([]string{"--kubeconfig", adminKubeconfig}, args...)...)
	GinkgoWriter.Printf("$ kubectl %s\n%s\n", strings.Join(args, " "), out)
	if err != nil {
		GinkgoWriter.Println(err)
	}
	return out, err
}

// apply applies a ProxyConfig by kubectl.
func apply(name, spec string) error {
	GinkgoHelper()
	path := filepath.Join(GinkgoT().TempDir(), "proxyconfig.yaml")
	text := fmt.Sprintf("apiVersion: kube-vmap.io/v1alpha1\nkind: ProxyConfig\nmetadata: {name: %s}\nspec: %s\n", name, spec)
	Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
	out, err := kubectl("apply", "-f", path)
	if err != nil {
		return fmt.Errorf("%s %w", out, err)
	}
	return nil
}

// proxyConfigs is a client for them.
func proxyConfigs() dynamic.ResourceInterface {
	GinkgoHelper()
	client, err := dynamic.NewForConfig(ours("an API server to speak to").ControlPlane.RESTConfig())
	Expect(err).NotTo(HaveOccurred())
	return client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ProxyConfigs))
}

// running is a part of what /configz tells.
type running struct {
	Proxy struct{ Coalesce time.Duration }
}

// configOf is the configuration of a node's agent.
func configOf(ctx context.Context, node prober) func() (running, error) {
	return func() (r running, err error) {
		a, err := get(ctx, node, operator+"/configz")
		if err == nil {
			err = json.Unmarshal([]byte(a.body), &r)
		}
		return r, err
	}
}

func coalesceOf(ctx context.Context, node prober) func() (string, error) {
	return func() (string, error) {
		r, err := configOf(ctx, node)()
		return r.Proxy.Coalesce.String(), err
	}
}

var _ = Describe("Configuration", Label("config", better), func() {
	w := newWorld("config")

	BeforeEach(func() {
		ours("agents whose configuration is the suite's")
		DeferCleanup(func(ctx SpecContext) {
			must(proxyConfigs().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
			Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("5ms"))
			Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("5ms"))
		})
	})

	It("changes while connections flow: the addresses of node ports, and the coalescing window", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeA, nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})
		ports := nodePorts(service, nodeA)
		v4, v6 := ofFamily(testnet.IPv4, ports), ofFamily(testnet.IPv6, ports)
		expect(ctx, from(client), testnet.TCP, ports, answeredBy("web-1", "web-2"))
		held := holdTCP(ctx, from(client), ports)
		flooding, stop := context.WithCancel(ctx)
		defer stop()
		flood := onHost(client).Flood(flooding, testnet.FloodOptions{Dst: v6[0], Rate: 200})

		Expect(apply("default", fmt.Sprintf("{nodePortAddresses: [%s/128], coalesce: 50ms}", v6[0].Addr()))).To(Succeed())
		Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("50ms"))
		expect(ctx, from(client), testnet.TCP, v4, refused)
		expect(ctx, from(client), testnet.TCP, v6, answeredBy("web-1", "web-2"))
		Expect(apply("default", "{nodePortAddresses: [primary], masqueradeBit: 20, coalesce: 0s}")).To(Succeed())
		Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("0s"))
		expect(ctx, from(client), testnet.TCP, ports, answeredBy("web-1", "web-2"))

		held.expectAlive(ctx)
		stop()
		report := flood.Wait()
		Expect(report.Failed).To(BeZero(), "%v", report)
		Expect(report.Opened).NotTo(BeZero())
	})

	It("refuses ten broken objects, and says why", func(_ SpecContext) {
		for spec, why := range map[string]string{
			"{nodePortAddresses: [eth0]}":                                 `spec.nodePortAddresses: Invalid value: "eth0" is no prefix; use prefixes such as 192.0.2.0/24 or 2001:db8::/64, or primary alone`,
			"{nodePortAddresses: [primary, 192.0.2.0/24]}":                "primary stands alone; use [primary], or prefixes such as 192.0.2.0/24",
			"{detectLocal: {mode: BridgeInterface}}":                      "mode BridgeInterface needs bridgeInterface, the name of the pods' bridge such as cni0",
			"{detectLocal: {mode: NodeCIDR, clusterCIDRs: [10.0.0.0/8]}}": "clusterCIDRs are of no use in this mode; use mode ClusterCIDR, or leave them out",
			"{masqueradeBit: 32}":                                         "spec.masqueradeBit: Invalid value: 32: spec.masqueradeBit in body should be less than or equal to 31",
			"{coalesce: 2s}":                                              "is too long; use 0s to 1s, such as 5ms",
			"{counters: All}":                                             `spec.counters: Unsupported value: "All": supported values: "None", "Services", "Endpoints"`,
			"{externalIPs: [none, 203.0.113.0/24]}":                       "all and none stand alone; use [all], [none], or prefixes such as 203.0.113.0/24",
			"{nodeSelector: {a: b}}":                                      "the object named default is for all nodes; give the object another name, or leave the selector out",
			"{nodePortAddress: [primary]}":                                `unknown field "spec.nodePortAddress"`,
		} {
			Expect(apply("default", spec)).To(MatchError(ContainSubstring(why)), spec)
		}
	})

	It("is held to the same rules by the API server as from a file", func(ctx SpecContext) {
		data, err := os.ReadFile("../config/testdata/proxyconfigs.yaml")
		Expect(err).NotTo(HaveOccurred())
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			object := &unstructured.Unstructured{}
			Expect(yaml.Unmarshal([]byte(text), &object.Object)).To(Succeed())
			_, err := proxyConfigs().Create(ctx, object, metav1.CreateOptions{
				DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
			})
			_, comment, bad := strings.Cut(text, "# refused: ")
			if !bad {
				Expect(err).NotTo(HaveOccurred(), text)
				continue
			}
			comment, _, _ = strings.Cut(comment, "\n")
			path, detail, _ := strings.Cut(comment, ": ")
			Expect(err).To(MatchError(And(ContainSubstring(path), ContainSubstring(detail))), text)
		}
	})

	It("takes over what is not the table's: conntrack, the log, and whose Services are served", func(ctx SpecContext) {
		w.backends(ctx, "web", nodeB)
		service := w.service(ctx, "web", corev1.ServiceSpec{})
		expect(ctx, from(podB), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		const timeout = "net/netfilter/nf_conntrack_udp_timeout"
		before, err := nodeHost(nodeB).Sysctl(timeout)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { must(nodeHost(nodeB).SetSysctl(timeout, before)) })
		Expect(apply("edge", fmt.Sprintf("{nodeSelector: {kubernetes.io/hostname: %s}, coalesce: 6ms, "+
			"conntrack: {udpTimeout: 47s}, logging: {verbosity: 2}, serviceProxyName: theirs}", nodeB))).To(Succeed())
		Eventually(func() (string, error) { return nodeHost(nodeB).Sysctl(timeout) }).WithContext(ctx).Should(Equal("47"))
		expect(ctx, from(podB), testnet.TCP, clusterIPs(service), silent)
		expect(ctx, from(podA), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		Eventually(func() (string, error) {
			log, err := os.ReadFile(ours("logs").Node(nodeB).LogPath())
			return string(log), err
		}).WithContext(ctx).Should(ContainSubstring("level=V2 msg=transaction"))
		service = w.change(ctx, service, func(s *corev1.Service) {
			s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "theirs"}
		})
		expect(ctx, from(podB), testnet.TCP, clusterIPs(service), answeredBy("web-1"))
		must(proxyConfigs().Delete(ctx, "edge", metav1.DeleteOptions{}))
		expect(ctx, from(podB), testnet.TCP, clusterIPs(service), silent)
	})

	It("is written by the chart, and reaches agents that run", func(ctx SpecContext) {
		upgrade := func(ctx context.Context, values map[string]any) {
			GinkgoHelper()
			u := action.NewUpgrade(helm(releaseNamespace))
			u.Namespace, u.WaitStrategy = releaseNamespace, kube.HookOnlyStrategy
			_, err := u.RunWithContext(ctx, release, theChart(), values)
			Expect(err).NotTo(HaveOccurred())
		}
		with := func(key string, value any) map[string]any {
			values := chartValues()
			values[key] = value
			return values
		}
		DeferCleanup(func(ctx SpecContext) { upgrade(ctx, with("proxyConfig", map[string]any{"create": false})) })
		upgrade(ctx, with("coalesce", "25ms"))
		Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("25ms"))
		Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("25ms"))
		upgrade(ctx, with("coalesce", "35ms"))
		Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("35ms"))
	})

	It("is overridden for the nodes that a selector names", func(ctx SpecContext) {
		Expect(apply("default", "{coalesce: 20ms}")).To(Succeed())
		Expect(apply("edge", fmt.Sprintf("{nodeSelector: {kubernetes.io/hostname: %s}, coalesce: 40ms}", nodeB))).To(Succeed())
		Expect(apply("strong", fmt.Sprintf("{nodeSelector: {kubernetes.io/hostname: %s}, priority: 5, masqueradeAll: true}", nodeB))).To(Succeed())
		Eventually(coalesceOf(ctx, hostA)).WithContext(ctx).Should(Equal("20ms"))
		Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("40ms"))
		must(proxyConfigs().Delete(ctx, "edge", metav1.DeleteOptions{}))
		Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("20ms"))
	})

	It("stays as it was while objects conflict, which is told by event, metric and condition", func(ctx SpecContext) {
		runAgent(ctx, nodeB, agent.With("--report-interval=1s"))
		selector := "nodeSelector: {kubernetes.io/hostname: " + nodeB + "}"
		Expect(apply("one", "{"+selector+", coalesce: 30ms}")).To(Succeed())
		Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("30ms"))
		Expect(apply("two", "{"+selector+", coalesce: 60ms}")).To(Succeed())
		sentence := "spec.coalesce: ProxyConfig one and ProxyConfig two give it different values at the same priority 0; give one of them a higher spec.priority"
		refusal := metric(ctx, hostB, "kube_vmap_configuration_refused", "")
		Eventually(refusal).WithContext(ctx).Should(BeEquivalentTo(1))
		Eventually(eventsOn(ctx, metav1.NamespaceDefault, v1alpha1.KindProxyConfig, "two")).WithContext(ctx).Should(ContainElement(And(
			HavePrefix("Warning ConfigurationRefused node "+nodeB), ContainSubstring(sentence))))
		accepted := `jsonpath={.status.conditions[?(@.type=="ConfigurationAccepted")]['status','message']}`
		Eventually(func() (string, error) { return kubectl("get", "proxynode", nodeB, "-o", accepted) }).
			WithContext(ctx).Should(And(HavePrefix("False"), ContainSubstring(sentence)))
		Expect(coalesceOf(ctx, hostB)()).To(Equal("30ms"))
		Expect(apply("two", "{"+selector+", priority: 1, coalesce: 60ms}")).To(Succeed())
		Eventually(coalesceOf(ctx, hostB)).WithContext(ctx).Should(Equal("60ms"))
		Eventually(refusal).WithContext(ctx).Should(BeZero())
		Eventually(func() (string, error) { return kubectl("get", "proxynode", nodeB, "-o", accepted) }).
			WithContext(ctx).Should(HavePrefix("True"))
	})

	It("is listed with the agents, which report themselves and go with their nodes", func(ctx SpecContext) {
		Expect(apply("default", "{nodePortAddresses: [primary], detectLocal: {mode: NodeCIDR}}")).To(Succeed())
		Expect(apply("edge", "{nodeSelector: {zone: edge}, priority: 10, coalesce: 20ms, counters: Endpoints}")).To(Succeed())
		Eventually(func(g Gomega) {
			out, err := kubectl("get", "proxynodes,proxyconfigs")
			g.Expect(err).NotTo(HaveOccurred())
			for _, words := range []string{"NAME READY SERVICES ENDPOINTS QUARANTINED OWNED CONFIG ACCEPTED VERSION AGE",
				"proxynode.kube-vmap.io/" + nodeA + " True", "proxynode.kube-vmap.io/" + nodeB + " True",
				"NAME PRIORITY NODES NODE PORTS DETECT LOCAL COALESCE COUNTERS AGE", "proxyconfig.kube-vmap.io/default", "proxyconfig.kube-vmap.io/edge 10"} {
				g.Expect(strings.Join(strings.Fields(out), " ")).To(ContainSubstring(words))
			}
		}).WithContext(ctx).Should(Succeed())
		owner, err := kubectl("get", "proxynode", nodeA, "-o", "jsonpath={.metadata.ownerReferences[*].kind} {.metadata.ownerReferences[*].name}")
		Expect(err).NotTo(HaveOccurred())
		Expect(owner).To(Equal("Node " + nodeA))
	})
})
