package cluster_test

import (
	"testing"

	"github.com/kube-vmap/kube-vmap/e2e/cluster"
)

func TestKubeVmap(t *testing.T) { testAgent(t, cluster.KubeVmap()) }
