package e2e

import (
	"bytes"
	"os"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// No agent may ever be told that something is forbidden, whatever happens.
var _ = AfterEach(func() {
	if lab == nil {
		return
	}
	for _, node := range lab.Nodes() {
		log, err := os.ReadFile(node.LogPath())
		Expect(err).NotTo(HaveOccurred())
		for line := range bytes.Lines(log) {
			Expect(bytes.Contains(bytes.ToLower(line), []byte("forbidden"))).To(BeFalse(), "%s: %s", node.Name, line)
		}
	}
})

var _ = Describe("RBAC", Label("rbac"), func() {
	It("gives the agent no more than it needs", Label(better), func(ctx SpecContext) {
		config, err := lab.ControlPlane.RESTConfigFor(ctx, metav1.NamespaceSystem, agent.Name)
		Expect(err).NotTo(HaveOccurred())
		client, err := kubernetes.NewForConfig(config)
		Expect(err).NotTo(HaveOccurred())
		review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
			Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: metav1.NamespaceSystem},
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
