package config

import (
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
)

// Each field that an object may set changes the configuration, its hash, and is
// named where differences are.
func TestEachFieldCounts(t *testing.T) {
	all := object(t, "default", `{
		nodePortAddresses: [192.0.2.0/24], detectLocal: {mode: NodeCIDR}, masqueradeAll: true, masqueradeBit: 0, coalesce: 1s,
		sessionAffinity: {maxBindings: 4096}, counters: Endpoints, tableOwnership: Disabled,
		conntrack: {maxPerCore: 1, min: 2, tcpEstablishedTimeout: 1h30m, tcpCloseWaitTimeout: 3s, tcpBeLiberal: true, udpTimeout: 30s, udpStreamTimeout: 2m},
		repair: {mode: Report, maxDelay: 10ms}, externalIPs: [203.0.113.0/24], logging: {verbosity: 4}, serviceProxyName: other}`)
	base := Running{Proxy: proxy.DefaultConfig(), Ownership: v1alpha1.OwnershipAuto}
	leaves := fields(&all.Spec.Settings)
	for i := range leaves {
		var only v1alpha1.Settings
		if leaves[i].value.IsZero() {
			t.Errorf("%s is not set here", leaves[i].path)
			continue
		}
		fields(&only)[i].set(leaves[i].value)
		with := base.With(&only)
		name := strings.TrimPrefix(leaves[i].path, "spec.")
		if with.Hash() == base.Hash() {
			t.Errorf("%s does not change the hash", name)
		}
		name = strings.Replace(name, "Bit", "Mark", 1)
		if said := with.Differences(base); !strings.HasPrefix(said, strings.TrimSuffix(strings.TrimSuffix(name, ".mode"), ".maxDelay")+": ") {
			t.Errorf("%s: %s", name, said)
		}
	}
	if all := base.With(&all.Spec.Settings); all.Hash() == base.Hash() || base.Differences(base) != "" {
		t.Errorf("%+v", all)
	}
}

// The hash tells configurations and not nodes apart.
func TestHashIsTheFleets(t *testing.T) {
	a := Running{Proxy: proxy.DefaultConfig()}
	b := a
	b.Proxy.NodeName, b.Proxy.Own, b.Proxy.IPv6 = "node-b", true, false
	if a.Hash() != b.Hash() || len(a.Hash()) != 10 {
		t.Errorf("%s, %s", a.Hash(), b.Hash())
	}
}
