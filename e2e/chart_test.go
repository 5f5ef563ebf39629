package e2e

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/kube"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
)

// release is the name and the namespace of the suite's installation of the chart.
const release, releaseNamespace = "kube-vmap", metav1.NamespaceSystem

// installChart installs the chart and returns the agent that its DaemonSet
// describes.
func installChart(ctx context.Context) *cluster.Agent {
	GinkgoHelper()
	install := action.NewInstall(helm(releaseNamespace))
	install.ReleaseName, install.Namespace, install.WaitStrategy = release, releaseNamespace, kube.HookOnlyStrategy
	_, err := install.RunWithContext(ctx, theChart(), chartValues())
	Expect(err).NotTo(HaveOccurred())
	return chartAgent(ctx)
}

// chartAgent is the agent of the DaemonSet that is installed.
func chartAgent(ctx context.Context) *cluster.Agent {
	GinkgoHelper()
	ds, err := api().AppsV1().DaemonSets(releaseNamespace).Get(ctx, release, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	agent, err := cluster.FromDaemonSet(ds)
	Expect(err).NotTo(HaveOccurred())
	return agent
}

func theChart() chart.Charter {
	GinkgoHelper()
	c, err := loader.Load(filepath.Join("..", "charts", "kube-vmap"))
	Expect(err).NotTo(HaveOccurred())
	return c
}

// chartValues are those of a cluster without another proxy.
func chartValues() map[string]any {
	GinkgoHelper()
	server, err := url.Parse(ours("a cluster to install the chart in").ControlPlane.Server())
	Expect(err).NotTo(HaveOccurred())
	port, err := strconv.Atoi(server.Port())
	Expect(err).NotTo(HaveOccurred())
	var cidrs []any
	for _, cidr := range cluster.PodCIDRs() {
		cidrs = append(cidrs, cidr.String())
	}
	return map[string]any{
		"apiServer":   map[string]any{"host": server.Hostname(), "port": port},
		"detectLocal": map[string]any{"clusterCIDRs": cidrs},
	}
}

// helm leads Helm to the suite's API server.
func helm(namespace string) *action.Configuration {
	GinkgoHelper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &adminKubeconfig, &namespace
	// The server is reached from its own namespace only.
	flags.WithWrapConfigFn(func(*rest.Config) *rest.Config { return lab.ControlPlane.RESTConfig() })
	config := action.NewConfiguration()
	Expect(config.Init(flags, namespace, "secret")).To(Succeed())
	return config
}

var _ = Describe("Chart", Label("chart"), func() {
	BeforeEach(func() { ours("a cluster to install the chart in") })

	It("runs one agent on the network of each node, with the token of its service account", Label(better), func(ctx SpecContext) {
		ds, err := api().AppsV1().DaemonSets(releaseNamespace).Get(ctx, release, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		pod := ds.Spec.Template.Spec
		Expect(pod.HostNetwork).To(BeTrue())
		Expect(pod.Tolerations).NotTo(BeEmpty())
		Expect(pod.Containers).To(HaveLen(1))
		Expect(pod.Containers[0].SecurityContext.Privileged).To(BeNil())
		Expect(agent.ServiceAccount).To(Equal(pod.ServiceAccountName))
		_, err = api().CoreV1().ServiceAccounts(releaseNamespace).Get(ctx, pod.ServiceAccountName, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
	})

	It("binds its role to its service account alone", Label(better, "rbac"), func(ctx SpecContext) {
		binding, err := api().RbacV1().ClusterRoleBindings().Get(ctx, release, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(binding.RoleRef.Name).To(Equal(release))
		Expect(binding.Subjects).To(HaveLen(1))
		Expect(binding.Subjects[0].Name).To(Equal(agent.ServiceAccount))
		Expect(binding.Subjects[0].Namespace).To(Equal(releaseNamespace))
	})

	It("is upgraded with other values, and the agent starts with them", Label(better), func(ctx SpecContext) {
		upgrade := action.NewUpgrade(helm(releaseNamespace))
		upgrade.Namespace, upgrade.WaitStrategy = releaseNamespace, kube.HookOnlyStrategy
		values := chartValues()
		values["masqueradeAll"] = true
		_, err := upgrade.RunWithContext(ctx, release, theChart(), values)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) {
			_, err := upgrade.RunWithContext(ctx, release, theChart(), chartValues())
			Expect(err).NotTo(HaveOccurred())
		})
		upgraded := chartAgent(ctx)
		Expect(upgraded.Args).To(ContainElement("--masquerade-all=true"))
		runAgent(ctx, nodeB, upgraded)
	})

	It("leaves nothing when it is uninstalled", Label(better), func(ctx SpecContext) {
		namespace, err := ours("a cluster to install the chart in").CreateNamespace(ctx, "chart")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) { must(lab.DeleteNamespace(ctx, namespace)) })
		install := action.NewInstall(helm(namespace))
		install.ReleaseName, install.Namespace, install.WaitStrategy = "second", namespace, kube.HookOnlyStrategy
		values := chartValues()
		values["crds"] = map[string]any{"enabled": false} // they are the first one's
		values["proxyConfig"] = map[string]any{"create": false}
		_, err = install.RunWithContext(ctx, theChart(), values)
		Expect(err).NotTo(HaveOccurred())
		name := "second-" + release
		_, err = api().RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		uninstall := action.NewUninstall(helm(namespace))
		uninstall.WaitStrategy = kube.HookOnlyStrategy
		_, err = uninstall.Run("second")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() []bool {
			_, ds := api().AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
			_, account := api().CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
			_, role := api().RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
			_, binding := api().RbacV1().ClusterRoleBindings().Get(ctx, name, metav1.GetOptions{})
			return []bool{apierrors.IsNotFound(ds), apierrors.IsNotFound(account), apierrors.IsNotFound(role), apierrors.IsNotFound(binding)}
		}).WithContext(ctx).Should(HaveEach(true), fmt.Sprint("of ", name))
	})
})
