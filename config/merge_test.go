package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

func object(t *testing.T, name, spec string) v1alpha1.ProxyConfig {
	t.Helper()
	o, err := read(fmt.Sprintf("apiVersion: kube-vmap.io/v1alpha1\nkind: ProxyConfig\nmetadata: {name: %s}\nspec: %s", name, spec))
	if err != nil {
		t.Fatal(err)
	}
	return *o
}

func TestMerge(t *testing.T) {
	objects := []v1alpha1.ProxyConfig{
		object(t, "default", "{coalesce: 5ms, masqueradeBit: 14, conntrack: {min: 1, udpTimeout: 30s}, detectLocal: {clusterCIDRs: [10.0.0.0/8]}}"),
		object(t, "edge", "{nodeSelector: {zone: edge}, coalesce: 50ms, conntrack: {udpTimeout: 60s}, logging: {verbosity: 2}}"),
		object(t, "gpu", "{nodeSelector: {gpu: 'true'}, priority: 10, coalesce: 100ms, detectLocal: {mode: NodeCIDR}}"),
		object(t, "both", "{nodeSelector: {gpu: 'true', zone: edge}, priority: 5, masqueradeAll: true}"),
	}
	for _, test := range []struct {
		labels map[string]string
		want   string
	}{
		{nil, "{coalesce: 5ms, masqueradeBit: 14, conntrack: {min: 1, udpTimeout: 30s}, detectLocal: {clusterCIDRs: [10.0.0.0/8]}}"},
		{map[string]string{"zone": "core"}, "{coalesce: 5ms, masqueradeBit: 14, conntrack: {min: 1, udpTimeout: 30s}, detectLocal: {clusterCIDRs: [10.0.0.0/8]}}"},
		{map[string]string{"zone": "edge"}, "{coalesce: 50ms, masqueradeBit: 14, conntrack: {min: 1, udpTimeout: 60s}, detectLocal: {clusterCIDRs: [10.0.0.0/8]}, logging: {verbosity: 2}}"},
		{map[string]string{"zone": "edge", "gpu": "true"}, "{coalesce: 100ms, masqueradeAll: true, masqueradeBit: 14, conntrack: {min: 1, udpTimeout: 60s}, detectLocal: {mode: NodeCIDR}, logging: {verbosity: 2}}"},
	} {
		m, err := Merge(objects, test.labels)
		if err != nil {
			t.Fatal(err)
		}
		want := object(t, "default", test.want).Spec.Settings
		if diff := cmp.Diff(want, m.Settings); diff != "" {
			t.Errorf("%v: %s", test.labels, diff)
		}
	}
}

func TestMergeConflicts(t *testing.T) {
	edge := object(t, "edge", "{nodeSelector: {zone: edge}, coalesce: 50ms, conntrack: {min: 1}}")
	node := map[string]string{"zone": "edge", "gpu": "true"}
	for _, test := range []struct{ spec, field string }{
		{"{nodeSelector: {gpu: 'true'}, coalesce: 50ms, conntrack: {udpTimeout: 1s}}", ""}, // the same, and another field
		{"{nodeSelector: {gpu: 'no'}, coalesce: 60ms}", ""},                                // for other nodes
		{"{nodeSelector: {gpu: 'true'}, priority: 1, coalesce: 60ms}", ""},
		{"{nodeSelector: {gpu: 'true'}, priority: 0, coalesce: 60ms}", "spec.coalesce"},
		{"{nodeSelector: {gpu: 'true'}, conntrack: {min: 2}}", "spec.conntrack.min"},
	} {
		_, err := Merge([]v1alpha1.ProxyConfig{object(t, "gpu", test.spec), edge}, node)
		var conflict *ConflictError
		if !errors.As(err, &conflict) {
			conflict = &ConflictError{}
		}
		if conflict.Field != test.field {
			t.Errorf("%s: %v", test.spec, err)
		}
	}
	// An object above both decides, and there is no conflict.
	above := object(t, "above", "{nodeSelector: {zone: edge}, priority: 1, coalesce: 70ms}")
	m, err := Merge([]v1alpha1.ProxyConfig{edge, above, object(t, "gpu", "{nodeSelector: {gpu: 'true'}, coalesce: 60ms}")}, node)
	if err != nil || *m.Settings.Coalesce != "70ms" {
		t.Errorf("%v, %v", m.Settings.Coalesce, err)
	}
}

func TestMergeRefusesTheInvalid(t *testing.T) {
	bad := object(t, "gpu", "{nodeSelector: {gpu: 'true'}}")
	bad.Spec.Coalesce = new(v1alpha1.Duration)
	var invalid *InvalidError
	if _, err := Merge([]v1alpha1.ProxyConfig{bad}, map[string]string{"gpu": "true"}); !errors.As(err, &invalid) || invalid.Object.Name != "gpu" {
		t.Errorf("%v", err)
	}
	if _, err := Merge([]v1alpha1.ProxyConfig{bad}, nil); err != nil {
		t.Errorf("it is for other nodes: %v", err)
	}
}

// The order in which objects are listed means nothing, for what is merged and for
// what is refused.
func TestMergeOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	conflicts, merged := 0, 0
	for range 300 {
		objects := []v1alpha1.ProxyConfig{object(t, "default", "{coalesce: 1ms, conntrack: {min: 7}}")}
		for i := range 1 + random.IntN(5) {
			objects = append(objects, object(t, fmt.Sprint("o", i), fmt.Sprintf(
				"{nodeSelector: {%s}, priority: %d, %s, %s}", pick("a: '1'", "b: '1'", "a: '2'"), random.IntN(3),
				pick("coalesce: 1ms", "coalesce: 2ms", "masqueradeAll: true", "nodePortAddresses: [primary]"),
				pick("conntrack: {min: 1}", "conntrack: {min: 2}", "conntrack: {udpTimeout: 1s}", "logging: {verbosity: 2}"))))
		}
		node := map[string]string{"a": "1", "b": "1"}
		want, wantErr := Merge(objects, node)
		if wantErr != nil {
			conflicts++
		} else {
			merged++
		}
		for range 3 {
			random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
			got, err := Merge(objects, node)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !cmp.Equal(want.Settings, got.Settings) {
				t.Fatalf("%v, %v\nelse %v, %v", got.Settings, err, want.Settings, wantErr)
			}
		}
	}
	if conflicts < 20 || merged < 20 {
		t.Errorf("%d conflicts, %d merged", conflicts, merged)
	}
}
