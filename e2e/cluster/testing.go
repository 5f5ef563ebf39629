package cluster

import "github.com/kube-vmap/kube-vmap/e2e/controlplane"

// ForTest starts a cluster that closes when the test ends, and fails the test if
// it can't. A failed test keeps the logs and says where they are.
func ForTest(t controlplane.TB, options Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), options)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, err := c.KeepLogs()
			t.Logf("logs of the cluster: %s %v", logs, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	return c
}
