package config

import (
	"bytes"
	gojson "encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

// ReadFile reads the ProxyConfig of a file, in YAML or JSON. It is for this node
// alone: it can be without a name, or be named default, and has neither nodeSelector
// nor priority.
func ReadFile(data []byte) (*v1alpha1.ProxyConfig, error) {
	if err := oneDocument(data); err != nil {
		return nil, err
	}
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("read YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	o, unknown, err := Decode(raw)
	if err == nil {
		err = errors.Join(unknown...)
	}
	if err != nil {
		return nil, err
	}
	switch o.Name {
	case "":
		o.Name = v1alpha1.DefaultName
	case v1alpha1.DefaultName:
	default:
		return nil, fmt.Errorf("metadata.name: %q: the object of a file is for this node alone; name it default, or leave the name out", o.Name)
	}
	return o, Validate(o).ToAggregate()
}

// oneDocument refuses a second YAML document, which would be passed over.
func oneDocument(data []byte) error {
	n := 0
	for doc := range bytes.SplitSeq(append([]byte("\n"), data...), []byte("\n---")) {
		if len(bytes.TrimSpace(withoutComments(doc))) > 0 {
			n++
		}
	}
	switch n {
	case 0:
		return errors.New("it is empty: a ProxyConfig is needed")
	case 1:
		return nil
	}
	return fmt.Errorf("it holds %d YAML documents: one ProxyConfig is needed", n)
}

func withoutComments(doc []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(doc) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			kept = append(kept, line...)
		}
	}
	return kept
}

// Decode reads a ProxyConfig from JSON, with the defaults of the definition. It
// lists the fields that this version doesn't know: a mistake in a file, and in an
// object perhaps meant for newer agents.
func Decode(raw []byte) (o *v1alpha1.ProxyConfig, unknown []error, err error) {
	o = &v1alpha1.ProxyConfig{}
	unknown, err = json.UnmarshalStrict(raw, o)
	if err != nil {
		return o, nil, plain(err)
	}
	if want := v1alpha1.GroupVersion.String(); o.APIVersion != want || o.Kind != v1alpha1.KindProxyConfig {
		return o, nil, fmt.Errorf("apiVersion %q, kind %q: must be %s, %s", o.APIVersion, o.Kind, want, v1alpha1.KindProxyConfig)
	}
	if d := o.Spec.DetectLocal; d != nil && d.Mode == "" {
		d.Mode = v1alpha1.DetectClusterCIDR
	}
	return o, unknown, nil
}

// plain says in words that a field has the wrong type.
func plain(err error) error {
	var wrong *gojson.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	at := strings.Replace(wrong.Field, "Settings.", "", 1)
	if at == "" {
		at = "the document"
	}
	return fmt.Errorf("%s: is a %s in JSON, must be %s", at, wrong.Value, wrong.Type)
}

// Write prints an object as YAML, without what a person doesn't write.
func Write(w io.Writer, o *v1alpha1.ProxyConfig) error {
	b, err := yaml.Marshal(o)
	if err == nil {
		_, err = w.Write(bytes.Replace(b, []byte("  creationTimestamp: null\n"), nil, 1))
	}
	return err
}

// timeOf reads a duration that is valid.
func timeOf(d v1alpha1.Duration) time.Duration {
	t, err := time.ParseDuration(string(d))
	if err != nil {
		panic(err)
	}
	return t
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }
