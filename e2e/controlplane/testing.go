package controlplane

import "context"

// TB is the part of testing.TB, and of Ginkgo's GinkgoT, that ForTest needs.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Failed() bool
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// ForTest starts a control plane that stops when the test ends, and fails the
// test if it can't. A failed test keeps the logs and says where they are.
func ForTest(t TB, options Options) *ControlPlane {
	t.Helper()
	cp, err := Start(t.Context(), options)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs of the control plane: %s", cp.KeepLogs())
		}
		if err := cp.Stop(); err != nil {
			t.Errorf("stop control plane: %v", err)
		}
	})
	return cp
}
