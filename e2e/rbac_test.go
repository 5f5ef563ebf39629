package e2e

import (
	"context"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
)

// checked is how much of each agent's log was held to have no refusal, in bytes.
var checked = map[string]int{}

// No agent may ever be told that something is forbidden, whatever happens.
var _ = AfterEach(func() {
	for _, node := range labNodes() {
		for _, line := range newLines(node) {
			Expect(strings.ToLower(line)).NotTo(ContainSubstring("forbidden"), node.Name)
		}
	}
})

// newLines are those of an agent's log since the last call.
func newLines(node *cluster.Node) []string {
	GinkgoHelper()
	log, err := os.ReadFile(node.LogPath())
	Expect(err).NotTo(HaveOccurred())
	fresh := string(log[checked[node.Name]:])
	checked[node.Name] = len(log)
	return strings.Split(fresh, "\n")
}

// forgiveRefusals lets refusals pass that were logged up to now: an API server
// that starts refuses everything until it has read the roles.
func forgiveRefusals() {
	GinkgoHelper()
	for _, node := range lab.Nodes() {
		newLines(node)
	}
}

var _ = Describe("RBAC", Label("rbac"), func() {
	It("gives the agent no more than it needs", Label(better), func(ctx SpecContext) {
		ours("the agent's service account")
		read := []string{"get", "list", "watch"}
		needed := map[string][]string{
			"services": read, "endpointslices": read, "nodes": read, "servicecidrs": read,
			"events": {"create", "patch", "update"},
			// Its configuration, and its report.
			"proxyconfigs": {"list", "watch"}, "proxynodes": {"get", "create", "patch"}, "proxynodes/status": {"patch"},
		}
		everyone := rights(ctx, metav1.NamespaceDefault, "default")
		for right := range rights(ctx, agent.Namespace, agent.ServiceAccount) {
			if everyone[right] {
				continue
			}
			verb, resource, _ := strings.Cut(right, " ")
			Expect(slices.Contains(needed[resource], verb)).To(BeTrue(), "the agent may %s", right)
		}
	})
})

// rights are what a service account may do in its namespace, as "VERB RESOURCE".
func rights(ctx context.Context, namespace, name string) map[string]bool {
	GinkgoHelper()
	config, err := lab.ControlPlane.RESTConfigFor(ctx, namespace, name)
	Expect(err).NotTo(HaveOccurred())
	client, err := kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	Expect(review.Status.Incomplete).To(BeFalse())
	rights := map[string]bool{}
	for _, rule := range review.Status.ResourceRules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				rights[verb+" "+resource] = true
			}
		}
	}
	return rights
}
