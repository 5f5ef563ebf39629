package charts

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

func newReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

func TestLint(t *testing.T) {
	for name, values := range cases(t) {
		for _, m := range lint.RunAll(chartDir, parse(t, values), "kube-system").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m.Error())
			}
		}
	}
}

func TestGolden(t *testing.T) {
	for name, values := range cases(t) {
		t.Run(name, func(t *testing.T) {
			r := mustRender(t, values)
			got := r.Manifests + "---\n# NOTES.txt\n#\n" + commented(r.Notes)
			path := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(read(t, path), got); diff != "" {
				t.Errorf("%s (go test -update rewrites it):\n%s", path, diff)
			}
		})
	}
}

func commented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	return b.String()
}

// The API server drops fields that it does not know, at best with a warning.
func TestObjectsHaveOnlyFieldsThatExist(t *testing.T) {
	types := map[string]func() any{
		"ServiceAccount":     func() any { return new(corev1.ServiceAccount) },
		"ConfigMap":          func() any { return new(corev1.ConfigMap) },
		"Pod":                func() any { return new(corev1.Pod) },
		"ClusterRole":        func() any { return new(rbacv1.ClusterRole) },
		"ClusterRoleBinding": func() any { return new(rbacv1.ClusterRoleBinding) },
		"DaemonSet":          func() any { return new(appsv1.DaemonSet) },
		"ProxyConfig":        func() any { return new(map[string]any) }, // see TestProxyConfigIsTaken

		"CustomResourceDefinition": func() any { return new(apiextensionsv1.CustomResourceDefinition) },

		"PodMonitor":     func() any { return new(monitoringv1.PodMonitor) },
		"PrometheusRule": func() any { return new(monitoringv1.PrometheusRule) },
	}
	seen := map[string]bool{}
	for name, values := range cases(t) {
		for _, doc := range mustRender(t, values+"\ngrafanaDashboard: {enabled: true}\n").documents(t) {
			kind, _ := parse(t, string(doc))["kind"].(string)
			make := types[kind]
			if make == nil {
				t.Fatalf("%s: what is a %q?", name, kind)
			}
			seen[kind] = true
			if err := sigsyaml.UnmarshalStrict(doc, make()); err != nil {
				t.Errorf("%s: %s: %v", name, kind, err)
			}
		}
	}
	for kind := range types {
		if !seen[kind] {
			t.Errorf("no case renders a %s", kind)
		}
	}
}

// Every right that the agent gets is explained where it is given.
func TestEveryRuleSaysWhy(t *testing.T) {
	rule := regexp.MustCompile(`^\s*- apiGroups:`)
	rules, before := 0, ""
	for line := range strings.Lines(read(t, "kube-vmap/templates/rbac.yaml")) {
		if rule.MatchString(line) {
			rules++
			if !strings.HasPrefix(strings.TrimSpace(before), "# ") {
				t.Errorf("no reason stands before %q", strings.TrimSpace(line))
			}
		}
		before = line
	}
	if rules == 0 {
		t.Error("no rules")
	}
}

// The agent has one capability; nothing is privileged but the init container.
func TestPrivileges(t *testing.T) {
	pod := decode[appsv1.DaemonSet](t, mustRender(t, "conntrack: {enabled: true}"), "DaemonSet").Spec.Template.Spec
	no, yes := false, true
	want := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
	}
	if diff := cmp.Diff(want, pod.Containers[0].SecurityContext); diff != "" {
		t.Errorf("agent: %s", diff)
	}
	if p := pod.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp profile %v", p)
	}
	if p := pod.InitContainers[0].SecurityContext.Privileged; p == nil || !*p {
		t.Error("the init container can't write to /proc/sys")
	}
	if len(pod.Containers) != 1 || len(pod.Volumes) != 0 || pod.HostPID || pod.HostIPC {
		t.Errorf("%d containers, %d volumes, host's processes %t, host's IPC %t", len(pod.Containers), len(pod.Volumes), pod.HostPID, pod.HostIPC)
	}
}

// Whatever the values, the agent and the init container know their arguments.
func TestAgentKnowsItsArguments(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "kube-vmap")
	build := exec.Command("go", "build", "-o", agent, "./cmd/kube-vmap")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, values := range cases(t) {
		pod := decode[appsv1.DaemonSet](t, mustRender(t, values), "DaemonSet").Spec.Template.Spec
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			// Flags are parsed from the left before help is printed.
			out, err := exec.Command(agent, append(c.Args, "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s: %v: %s", name, c.Name, err, out)
			}
		}
	}
}

// Nodes get the agent whatever their taints, and before other pods.
func TestEveryNodeGetsTheAgent(t *testing.T) {
	pod := decode[appsv1.DaemonSet](t, mustRender(t, ""), "DaemonSet").Spec.Template.Spec
	if diff := cmp.Diff([]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, pod.Tolerations); diff != "" {
		t.Error(diff)
	}
	if pod.PriorityClassName != "system-node-critical" || !pod.HostNetwork || pod.DNSPolicy != corev1.DNSDefault {
		t.Errorf("priority class %s, host's network %t, DNS policy %s", pod.PriorityClassName, pod.HostNetwork, pod.DNSPolicy)
	}
	if diff := cmp.Diff(map[string]string{"kubernetes.io/os": "linux"}, pod.NodeSelector); diff != "" {
		t.Error(diff)
	}
}
