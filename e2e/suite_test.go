package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"

	"k8s.io/client-go/rest"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
)

// The variables that choose what the suite does.
const (
	// envAgent names the agent, kube-vmap or kube-proxy.
	envAgent = "E2E_AGENT"
	// envArtifacts is the directory for what explains failures.
	envArtifacts = "E2E_ARTIFACTS"
	// envKubeconfig is that of a cluster to test instead of an own one.
	envKubeconfig = "KUBECONFIG"
	// envScale, if set to 1, runs the specs of large clusters, and only them.
	envScale = "E2E_SCALE"
)

// Labels of specs.
const (
	// better marks what kube-vmap does more or differently than kube-proxy, on
	// purpose: all other specs hold for both.
	better = "better"
	// scale marks specs that take minutes.
	scale = "scale"
)

// Bounds for broken runs, far above what a loaded machine needs: nothing that
// hangs holds the suite up.
const (
	// eventually is how long the suite waits for a state, foreignEventually where
	// each probe is a command in a pod.
	eventually, foreignEventually = 45 * time.Second, 3 * time.Minute
	// specTimeout is for a spec with its setup, foreignSpecTimeout where pods are
	// real ones and their images must be fetched.
	specTimeout, foreignSpecTimeout = 3 * time.Minute, 10 * time.Minute
	// suiteTimeout is for all of it.
	suiteTimeout, foreignSuiteTimeout = 20 * time.Minute, 2 * time.Hour
)

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	if os.Getenv(envKubeconfig) != "" {
		SetDefaultEventuallyTimeout(foreignEventually)
	}
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	// An error is what it says: Gomega would print how it is made up.
	format.RegisterCustomFormatter(func(value any) (string, bool) {
		err, ok := value.(error)
		return fmt.Sprint(err), ok
	})
	rest.SetDefaultWarningHandler(rest.NoWarnings{}) // the API warns of what the suite does on purpose
	suiteConfig, reporterConfig := GinkgoConfiguration()
	choose(&suiteConfig)
	bound(&suiteConfig)
	reporterConfig.NoColor = reporterConfig.NoColor || !isTerminal(os.Stdout)
	RunSpecs(t, "kube-vmap in a cluster, agent "+agentName(), suiteConfig, reporterConfig)
}

// bound ends each spec and the suite after some time. A spec may have a
// SpecTimeout of its own.
func bound(config *types.SuiteConfig) {
	spec := specTimeout
	config.Timeout = suiteTimeout
	if os.Getenv(envKubeconfig) != "" {
		spec, config.Timeout = foreignSpecTimeout, foreignSuiteTimeout
	}
	config.PollProgressAfter = spec / 2
	AddTreeConstructionNodeArgsTransformer(func(node types.NodeType, _ Offset, text string, args []any) (string, []any, []error) {
		if node.Is(types.NodeTypeIt) {
			args = append([]any{SpecTimeout(spec)}, interruptible(args)...)
		}
		return text, args, nil
	})
}

// interruptible gives a spec that takes no context one, which a timeout asks for.
func interruptible(args []any) []any {
	for i, arg := range args {
		if f, ok := arg.(func()); ok {
			args[i] = func(SpecContext) { f() }
		}
	}
	return args
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// choose leaves out what the variables exclude.
func choose(config *types.SuiteConfig) {
	filter := "!" + scale
	if os.Getenv(envScale) == "1" {
		filter = scale
	}
	if agentName() != "kube-vmap" {
		filter += " && !" + better
	}
	if config.LabelFilter != "" {
		filter = "(" + config.LabelFilter + ") && " + filter
	}
	config.LabelFilter = filter
	config.FailOnPending = true
	// The cluster is shared: the order of specs must not depend on the day.
	if !config.RandomizeAllSpecs {
		config.RandomSeed = 1
	}
}

func agentName() string {
	if name := os.Getenv(envAgent); name != "" {
		return name
	}
	return "kube-vmap"
}

// chosenAgent is what the variables choose. kube-vmap comes by its chart.
func chosenAgent(ctx context.Context) *cluster.Agent {
	switch agentName() {
	case "kube-vmap":
		return installChart(ctx)
	case "kube-proxy":
		return cluster.KubeProxy()
	}
	Fail(fmt.Sprintf("%s=%s: must be kube-vmap or kube-proxy", envAgent, agentName()))
	return nil
}

// The cluster that all specs share. Each spec has namespaces of its own, and puts
// back what it changes of nodes and agents.
var (
	// lab is the suite's own cluster, nil if KUBECONFIG names another.
	lab *cluster.Cluster
	// agent runs on the nodes of lab.
	agent *cluster.Agent
	// adminKubeconfig is a file that gives all rights in lab.
	adminKubeconfig string
	// nodeA and nodeB are names of nodes.
	nodeA, nodeB = "node-a", "node-b"
)

var _ = BeforeSuite(func(ctx SpecContext) {
	if kubeconfig := os.Getenv(envKubeconfig); kubeconfig != "" {
		joinForeign(ctx, kubeconfig)
		return
	}
	startLab(ctx)
}, NodeTimeout(foreignSpecTimeout))

func startLab(ctx context.Context) {
	var err error
	lab, err = cluster.Start(ctx, cluster.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(lab.Close()).To(Succeed()) })
	DeferCleanup(keepLogs)
	adminKubeconfig = filepath.Join(GinkgoT().TempDir(), "admin.conf")
	Expect(lab.ControlPlane.Kubeconfig(adminKubeconfig)).To(Succeed())
	agent = chosenAgent(ctx)
	Expect(lab.StartAgents(ctx, agent)).To(Succeed())
	runSources(ctx)
}

// runAgent runs another agent on a node until the spec ends. It returns when the
// agent works.
func runAgent(ctx context.Context, name string, other *cluster.Agent) {
	GinkgoHelper()
	node := ours("agents to restart").Node(name)
	DeferCleanup(func(ctx SpecContext) {
		must(node.StopAgent())
		must(node.StartAgent(ctx, agent))
	})
	must(node.StopAgent())
	must(node.StartAgent(ctx, other))
}

// Each spec finds agents that run, whatever the spec before has left.
var _ = BeforeEach(func(ctx SpecContext) {
	for _, node := range labNodes() {
		if node.Agent() == nil || node.Agent().Ended() {
			must(node.StopAgent())
			must(node.StartAgent(ctx, agent))
		}
	}
})

// No agent may end by itself.
var _ = AfterEach(func() {
	for _, node := range labNodes() {
		if node.Agent() != nil && node.Agent().Ended() {
			Fail("the agent of " + node.Name + " has ended by itself: see its log")
		}
	}
})

// labNodes are the nodes of the suite's own cluster.
func labNodes() []*cluster.Node {
	if lab == nil {
		return nil
	}
	return lab.Nodes()
}
