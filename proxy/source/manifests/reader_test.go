package manifests

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

func newReader(log logr.Logger) *reader {
	return &reader{node: "demo-node", convert: convert.New(""), log: log}
}

// summary is an object in a line: where it stands, and the most telling of its values.
func summary(o *object) string {
	s := fmt.Sprintf("%d@%d %s", o.document, o.line, o.Ref)
	switch v := o.Value.(type) {
	case *model.Service:
		s += fmt.Sprintf(" %v %v", v.ClusterIPs, v.Ports)
	case *model.EndpointSlice:
		s += fmt.Sprintf(" of %s %v", v.Service, v.Ports)
		for _, e := range v.Endpoints {
			s += " " + e.Addr.String()
		}
	case *model.Node:
		s += fmt.Sprintf(" %v", v.InternalIPs)
	case []netip.Prefix:
		s += fmt.Sprintf(" %v", v)
	case nil:
		s += " not taken"
	}
	for _, p := range o.Problems {
		s += "; " + p.String()
	}
	return s
}

const (
	service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.1}\n"
	slice   = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: {kubernetes.io/service-name: web}}\n" +
		"addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.244.0.1]}]\n"
	ofService = "Service shop/web [10.96.0.1] []"
)

func TestRead(t *testing.T) {
	for _, row := range []struct {
		name, path, in string
		objects, errs  []string
	}{
		{name: "nothing", in: "# empty\n"},
		{name: "the four kinds", in: service + "---\n" + slice + "---\n" +
			"apiVersion: v1\nkind: Node\nmetadata: {name: demo-node}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.10}]}\n---\n" +
			"apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: kubernetes}\nspec: {cidrs: [10.96.0.0/16]}\n",
			objects: []string{"1@1 " + ofService, "2@6 EndpointSlice default/web-1 of default/web [{ TCP 8080}] 10.244.0.1",
				"3@13 Node demo-node [192.0.2.10]", "4@18 ServiceCIDR kubernetes [10.96.0.0/16]"}},
		{name: "other kinds, versions and nodes", in: "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: many}\n---\n" +
			"apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web}\n---\n" +
			"apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: web-1}\n---\n" +
			"apiVersion: v1\nkind: Node\nmetadata: {name: Demo-Node}\n---\napiVersion: example.com/v1\nkind: GadgetList\nitems: [1]\n"},
		{name: "a headless Service", in: "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {clusterIP: None}\n",
			objects: []string{"1@1 Service default/db not taken"}},
		{name: "a problem is the object's, not the file's", in: "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.300}\n",
			objects: []string{`1@1 Service default/web [] []; spec.clusterIP: "10.96.0.300" is not an IP address: correct it`}},
		{name: "a List", in: "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(service), "\n", "\n  ") + "\n",
			objects: []string{"1@4 " + ofService}},
		{name: "a List in flow style", in: "{apiVersion: v1, kind: List, items: [\n{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1}}]}\n",
			objects: []string{"1@2 " + ofService}},
		{name: "a list of a kind", in: "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: web, namespace: shop}\n  spec: {clusterIP: 10.96.0.1}\n",
			objects: []string{"1@4 " + ofService}},
		{name: "an empty List", in: "apiVersion: v1\nkind: List\nitems: []\n---\napiVersion: v1\nkind: List\n---\n{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":null}\n"},
		{name: "a List in a List", in: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ServiceList\n  items:\n  - metadata: {name: web, namespace: shop}\n    spec: {clusterIP: 10.96.0.1}\n",
			objects: []string{"1@7 " + ofService}},
		{name: "anchors across a List", in: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: web, namespace: shop}\n  spec: &spec\n    clusterIP: 10.96.0.1\n" +
			"- apiVersion: v1\n  kind: Service\n  metadata: {name: web2, namespace: shop}\n  spec:\n    <<: *spec\n    type: NodePort\n",
			objects: []string{"1@4 " + ofService, "1@9 Service shop/web2 [10.96.0.1] []"}},
		{name: "JSON", path: "a.json", in: `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.1"}}` + "\n" +
			"{\"kind\":\"ServiceList\",\"items\":[\n{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"clusterIP\":\"10.96.0.1\"}}],\"apiVersion\":\"v1\"}",
			objects: []string{"1@1 " + ofService, "2@3 " + ofService}},
		{name: "JSON after a byte order mark", path: "a.json", in: "\ufeff" + `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.1"}}`,
			objects: []string{"1@1 " + ofService}},
		{name: "numbers and words that YAML writes in many ways", in: "apiVersion: v1\nkind: Service\nmetadata: {name: 017x, namespace: \"1\"}\nspec:\n  clusterIP: 10.96.0.1\n  publishNotReadyAddresses: True\n  ports: [{port: 0x50}, {name: b, port: +81}, {name: c, port: 1_000}]\n",
			objects: []string{"1@1 Service 1/017x [10.96.0.1] [{ TCP 80 0} {b TCP 81 0} {c TCP 1000 0}]"}},

		{name: "not YAML", in: service + "---\na: b: c\n---\n" + service,
			objects: []string{"1@1 " + ofService, "3@8 " + ofService},
			errs:    []string{"read a.yaml:6: document 2: it is not YAML: mapping values are not allowed in this context"}},
		{name: "not YAML in a List", in: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n- apiVersion: \"v1\n",
			errs: []string{"read a.yaml:6: document 1: it is not YAML: found unexpected end of stream"}},
		{name: "a value of the wrong type", in: strings.Replace(service, "{clusterIP: 10.96.0.1}", "\n  clusterIP: 10.96.0.1\n  ports:\n  - name: a\n    port: http", 1),
			errs: []string{"read a.yaml:8: document 1: spec.ports.port is a JSON string: write one of type int32"}},
		{name: "a wrong type in a List", in: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: [a]\n",
			objects: []string{"1@4 Service default/a not taken"},
			errs:    []string{"read a.yaml:10: document 1: metadata.name is a JSON array: write one of type string"}},
		{name: "a time that is none", in: "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  creationTimestamp: yesterday\n",
			errs: []string{`read a.yaml:1: document 1: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`}},
		{name: "a key twice", in: "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  clusterIP: 10.96.0.1\n  clusterIP: 10.96.0.2\n",
			errs: []string{`read a.yaml:6: document 1: the key "clusterIP" stands there twice: remove one`}},
		{name: "a key twice in JSON", path: "a.json", in: `{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"clusterIP":"a","clusterIP":"b"}}`,
			errs: []string{"read a.json:1: document 1: spec.clusterIP stands there twice: remove one"}},
		{name: "no name", in: "apiVersion: v1\nkind: Service\n",
			errs: []string{"read a.yaml:1: document 1: metadata.name is missing: name the object"}},
		{name: "no kind", in: "\nmetadata: {name: a}\n---\nkind: Service\n",
			errs: []string{"read a.yaml:2: document 1: apiVersion or kind is missing: give both", "read a.yaml:4: document 2: apiVersion or kind is missing: give both"}},
		{name: "no object", in: "hello\n---\n- a\n---\napiVersion: v1\nkind: List\nitems: [1]\n",
			errs: []string{"read a.yaml:1: document 1: there is no object: write one with apiVersion and kind",
				"read a.yaml:3: document 2: there is no object: write one with apiVersion and kind",
				"read a.yaml:7: document 3: there is no object: write one with apiVersion and kind"}},
		{name: "not JSON", path: "a.json", in: "{\"apiVersion\":\"v1\",\n\"kind\":\"List\",}",
			errs: []string{"read a.json:2: document 1: invalid character '}' looking for beginning of object key string"}},
		{name: "JSON that ends early", path: "a.json", in: "{\"apiVersion\":\"v1\",\n\"kind\":\n\n",
			errs: []string{"read a.json:4: document 1: the file ends within an object"}},
		{name: "a value of the wrong type in JSON", path: "a.json", in: "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n{\"apiVersion\":\"v1\",\"kind\":\"Service\",\n\"metadata\":\n{\"name\":7}}, 5]}",
			errs: []string{"read a.json:4: document 1: metadata.name is a JSON number: write one of type string",
				"read a.json:4: document 1: there is no object: write one with apiVersion and kind"}},
		{name: "a number without JSON form", in: "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  healthCheckNodePort: .inf\n",
			errs: []string{"read a.yaml:5: document 1: .inf has no JSON form: correct it"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := row.path
			if path == "" {
				path = "a.yaml"
			}
			objects, err := newReader(logr.Discard()).read(path, []byte(row.in))
			var got, errs []string
			for i := range objects {
				got = append(got, summary(&objects[i]))
			}
			for _, e := range fileErrors(path, err) {
				errs = append(errs, e.Error())
			}
			if d := cmp.Diff(row.objects, got); d != "" {
				t.Errorf("objects (-want +got)\n%s", d)
			}
			if d := cmp.Diff(row.errs, errs); d != "" {
				t.Errorf("errors (-want +got)\n%s", d)
			}
		})
	}
}

func TestReadTellsOfWhatIsIgnored(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 1})
	_, err := newReader(log).read("a.yaml", []byte(strings.Replace(service, "clusterIP:", "externlIPs: [], clusterIP:", 1)+
		"---\napiVersion: apps/v1\nkind: Deployment\n---\napiVersion: networking.k8s.io/v1beta1\nkind: ServiceCIDR\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"level"=0 "msg"="Ignored a field that is not of the API" "file"="a.yaml" "line"=1 "error"="unknown field \"spec.externlIPs\""`,
		`"level"=1 "msg"="Ignored an object of another kind" "file"="a.yaml" "line"=6 "kind"="apps/v1 Deployment"`,
		`"level"=0 "msg"="Ignored an object of a version that is not read: use v1" "file"="a.yaml" "line"=9 "kind"="networking.k8s.io/v1beta1 ServiceCIDR"`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestReadBoundsItsErrors(t *testing.T) {
	_, err := newReader(logr.Discard()).read("a.yaml", []byte(strings.Repeat("--- 1\n", 100)))
	errs := fileErrors("a.yaml", err)
	if len(errs) != maxErrors+1 || errs[maxErrors].Error() != "read a.yaml: there are 80 errors more" {
		t.Errorf("%d errors, the last %v", len(errs), errs[len(errs)-1])
	}
}

// A small text must not unfold to gigabytes.
func TestReadBoundsAliases(t *testing.T) {
	text := "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels:\n    a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		text += fmt.Sprintf("    a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	if _, err := newReader(logr.Discard()).read("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "aliasing") {
		t.Errorf("error %v, want one about aliases", err)
	}
}
