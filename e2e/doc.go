// Package e2e tests the agent in a whole Kubernetes cluster, by a Ginkgo suite: a
// file for each area of what a Service proxy does. It has tests only; README.md
// says how to run them and what stands for what.
package e2e
