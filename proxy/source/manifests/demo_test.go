package manifests

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// The demo's manifests are sound: nothing is ignored, unknown or left out.
func TestDemo(t *testing.T) {
	log := funcr.New(func(_, args string) { t.Error(args) }, funcr.Options{Verbosity: 1})
	b := newBrowser("../../../examples/demo", Options{NodeName: "demo-node", Log: log})
	if err := b.look(); err != nil {
		t.Fatal(err)
	}
	update, _ := b.ledger.Take()
	for ref, problems := range update.Problems {
		t.Errorf("%s: %v", ref, problems)
	}
	var got []string
	for _, name := range slices.SortedFunc(maps.Keys(update.Services), model.ServiceName.Compare) {
		got = append(got, fmt.Sprintf("%s %v", name, update.Services[name].ClusterIPs))
	}
	want := []string{
		"kube-system/kube-dns [10.96.0.53 fd00:10:96::53]",
		"shop/checkout [10.96.0.20 fd00:10:96::20]",
		"shop/feed [10.96.0.30 fd00:10:96::30]",
		"shop/search [10.96.0.40 fd00:10:96::40]",
		"shop/web [10.96.0.10 fd00:10:96::10]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if update.Node == nil || len(update.Node.InternalIPs) != 2 || len(*update.ServiceCIDRs) != 2 || len(update.Slices) != 8 {
		t.Errorf("node %v, ServiceCIDRs %v, %d slices", update.Node, *update.ServiceCIDRs, len(update.Slices))
	}
}
