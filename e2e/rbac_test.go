package e2e

import (
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
	if lab == nil {
		return
	}
	for _, node := range lab.Nodes() {
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
		config, err := ours("the agent's service account").ControlPlane.RESTConfigFor(ctx, agent.Namespace, agent.ServiceAccount)
		Expect(err).NotTo(HaveOccurred())
		client, err := kubernetes.NewForConfig(config)
		Expect(err).NotTo(HaveOccurred())
		review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
			Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: agent.Namespace},
		}, metav1.CreateOptions{})
		Expect(err).NotTo(HaveOccurred())
		read := []string{"get", "list", "watch"}
		allowed := map[string][]string{
			"services": read, "endpointslices": read, "nodes": read, "servicecidrs": read,
			"events": {"create", "patch", "update"},
			// Everyone may ask what they may do.
			"selfsubjectaccessreviews": {"create"}, "selfsubjectrulesreviews": {"create"}, "selfsubjectreviews": {"create"},
		}
		for _, rule := range review.Status.ResourceRules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					Expect(slices.Contains(allowed[resource], verb)).To(BeTrue(), "the agent may %s %s", verb, resource)
				}
			}
		}
	})
})
