package charts

import (
	"context"
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	sigsyaml "sigs.k8s.io/yaml"
)

// definition is a CustomResourceDefinition as the API server uses it.
type definition struct {
	shape  *structural.Structural
	schema validation.SchemaValidator
	rules  *cel.Validator
}

func loadDefinition(t *testing.T, resource string) definition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := sigsyaml.UnmarshalStrict([]byte(read(t, "kube-vmap/files/crds/kube-vmap.io_"+resource+".yaml")), crd); err != nil {
		t.Fatal(err)
	}
	props := &apiextensions.JSONSchemaProps{}
	v1 := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1, props, nil); err != nil {
		t.Fatal(err)
	}
	shape, err := structural.NewStructural(props)
	if err != nil {
		t.Fatal(err)
	}
	if errs := structural.ValidateStructural(nil, shape); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		t.Fatal(err)
	}
	return definition{shape, validator, cel.NewValidator(shape, true, celconfig.PerCallLimit)}
}

// refusal is what the API server says to an object, empty if it takes it.
func (d definition) refusal(object map[string]any) string {
	unknown := pruning.PruneWithOptions(object, d.shape, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return "unknown fields: " + strings.Join(unknown, ", ")
	}
	defaulting.Default(object, d.shape)
	errs := validation.ValidateCustomResource(nil, object, d.schema)
	if len(errs) == 0 {
		errs, _ = d.rules.Validate(context.Background(), nil, d.shape, object, nil, celconfig.RuntimeCELCostBudget)
	}
	if err := errs.ToAggregate(); err != nil {
		return err.Error()
	}
	return ""
}

// The rules of the definition take and refuse what config.Validate does, which has
// the same examples, and say why in the same words.
func TestProxyConfigRules(t *testing.T) {
	d := loadDefinition(t, "proxyconfigs")
	data, err := os.ReadFile("../config/testdata/proxyconfigs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(string(data), "\n---\n") {
		_, comment, bad := strings.Cut(text, "# refused: ")
		want, _, _ := strings.Cut(comment, "\n")
		refusal := d.refusal(parse(t, text))
		path, detail, _ := strings.Cut(want, ": ")
		switch {
		case !bad && refusal != "":
			t.Errorf("%s\nis refused: %s", text, refusal)
		case bad && (!strings.Contains(refusal, path) || !strings.Contains(refusal, detail)):
			t.Errorf("%s\nsays: %s", text, refusal)
		}
	}
}

// What the values make is a ProxyConfig that the API server takes.
func TestProxyConfigIsTaken(t *testing.T) {
	d := loadDefinition(t, "proxyconfigs")
	all := cases(t)
	all["ownership"] = "{tableOwnership: on, counters: None, externalIPs: [none], conntrack: {enabled: true, tcpBeLiberal: true}}"
	for name, values := range all {
		object := *decode[map[string]any](t, mustRender(t, values), "ProxyConfig")
		if refusal := d.refusal(object); refusal != "" {
			t.Errorf("%s: %s", name, refusal)
		}
	}
}

// At the first installation Helm could not make an object of a kind that the same
// release defines.
func TestFirstInstallation(t *testing.T) {
	r, err := renderIn(common.DefaultCapabilities, parse(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.Manifests, "\nkind: ProxyConfig\n") || !strings.Contains(r.Manifests, "name: proxyconfigs.kube-vmap.io") {
		t.Error(r.Manifests)
	}
}
