// Package charts tests the Helm chart in kube-vmap/: that it passes Helm's linter,
// what it renders from the values in testdata/ (*.golden.yaml, rewritten by go
// test -update), that each object is one the API server takes, that bad values are
// refused with a sentence, and that alerts and dashboard ask for metrics there are.
//
// It is a module of its own, since Helm needs far more of others than the agent.
package charts
