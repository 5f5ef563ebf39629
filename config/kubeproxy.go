package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

// Note says what became of a field of kube-proxy's configuration that a ProxyConfig
// does not have.
type Note struct{ Field, Text string }

func (n Note) String() string { return n.Field + ": " + n.Text }

// FromKubeProxy makes the ProxyConfig default of a KubeProxyConfiguration
// (kubeproxy.config.k8s.io/v1alpha1), or of a ConfigMap with one as kubeadm writes
// it, in YAML or JSON. The notes name, sorted, each field with a value of its own
// that has no counterpart.
func FromKubeProxy(data []byte) (*v1alpha1.ProxyConfig, []Note, error) {
	k, err := readKubeProxy(data)
	if err != nil {
		return nil, nil, err
	}
	o := &v1alpha1.ProxyConfig{}
	o.APIVersion, o.Kind, o.Name = v1alpha1.GroupVersion.String(), v1alpha1.KindProxyConfig, v1alpha1.DefaultName
	s := &o.Spec.Settings
	k.masquerade(s)
	k.nodePorts(s)
	k.detectLocal(s)
	k.conntrack(s)
	if v := k.number("logging.verbosity"); v != nil {
		s.Logging = &v1alpha1.Logging{Verbosity: v}
	}
	k.rest()
	if err := errors.Join(k.errs...); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(k.notes, func(a, b Note) int { return strings.Compare(a.Field, b.Field) })
	return o, k.notes, Validate(o).ToAggregate()
}

// kubeProxy is kube-proxy's configuration, field by field. What is read of it is
// taken out.
type kubeProxy struct {
	fields map[string]any // by path: "conntrack.min"
	mode   string
	notes  []Note
	errs   []error
}

func readKubeProxy(data []byte) (*kubeProxy, error) {
	if err := oneDocument(data); err != nil {
		return nil, err
	}
	var all map[string]any
	if err := yaml.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch kind, version := all["kind"], all["apiVersion"]; {
	case kind == "ConfigMap":
		held, _ := all["data"].(map[string]any)
		for _, key := range []string{"config.conf", "kubeproxy-config.conf", "config"} {
			if text, ok := held[key].(string); ok {
				return readKubeProxy([]byte(text))
			}
		}
		return nil, errors.New("it is a ConfigMap without kube-proxy's configuration: no config.conf or config in its data")
	case kind != "KubeProxyConfiguration" || version != "kubeproxy.config.k8s.io/v1alpha1":
		return nil, fmt.Errorf("apiVersion %v, kind %v: must be kubeproxy.config.k8s.io/v1alpha1, KubeProxyConfiguration, or a ConfigMap with one", version, kind)
	}
	delete(all, "kind")
	delete(all, "apiVersion")
	k := &kubeProxy{fields: map[string]any{}}
	k.flatten("", all)
	k.mode = k.text("mode")
	return k, nil
}

// flatten lists the fields that say something: kubeadm writes all there are.
func (k *kubeProxy) flatten(prefix string, m map[string]any) {
	for name, value := range m {
		switch v := value.(type) {
		case map[string]any:
			k.flatten(prefix+name+".", v)
		case nil:
		default:
			k.fields[prefix+name] = v
		}
	}
}

// take takes a field out.
func take[T any](k *kubeProxy, path, what string) (v T, ok bool) {
	value, there := k.fields[path]
	delete(k.fields, path)
	if !there {
		return v, false
	}
	if v, ok = value.(T); !ok {
		k.errs = append(k.errs, fmt.Errorf("%s: %v is no %s", path, value, what))
	}
	return v, ok
}

func (k *kubeProxy) text(path string) string { v, _ := take[string](k, path, "text"); return v }

func (k *kubeProxy) truth(path string) *bool {
	if v, ok := take[bool](k, path, "boolean"); ok {
		return &v
	}
	return nil
}

func (k *kubeProxy) number(path string) *int32 {
	v, ok := take[float64](k, path, "number")
	if !ok {
		return nil
	}
	if v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
		k.errs = append(k.errs, fmt.Errorf("%s: %v is no whole number of 32 bits", path, v))
	}
	n := int32(v)
	return &n
}

func (k *kubeProxy) list(path string) (texts []string) {
	list, _ := take[[]any](k, path, "list")
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

func (k *kubeProxy) duration(path string) *v1alpha1.Duration {
	text := k.text(path)
	if text == "" {
		return nil
	}
	t, err := time.ParseDuration(text)
	if err != nil || t < 0 {
		k.errs = append(k.errs, fmt.Errorf("%s: %q is no time such as 30s or 24h", path, text))
		return nil
	}
	d := durationText(t)
	return &d
}

// durationText writes a time as the API takes it, down to milliseconds.
func durationText(t time.Duration) v1alpha1.Duration {
	var b strings.Builder
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := t / unit.of; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			t %= unit.of
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return v1alpha1.Duration(b.String())
}

func (k *kubeProxy) note(path, format string, args ...any) {
	k.notes = append(k.notes, Note{path, fmt.Sprintf(format, args...)})
}

// masquerade takes the fields of the mode's own section; IPVS uses those of
// iptables.
func (k *kubeProxy) masquerade(s *v1alpha1.Settings) {
	section := "iptables"
	if k.mode == "nftables" {
		section = "nftables"
	}
	if all := k.truth(section + ".masqueradeAll"); all != nil && *all {
		s.MasqueradeAll = all
	}
	s.MasqueradeBit = k.number(section + ".masqueradeBit")
}

// nodePorts: without addresses, the modes iptables and ipvs open all, and nftables
// the primary ones.
func (k *kubeProxy) nodePorts(s *v1alpha1.Settings) {
	s.NodePortAddresses = k.list("nodePortAddresses")
	if len(s.NodePortAddresses) == 0 && k.mode != "nftables" {
		s.NodePortAddresses = []string{"0.0.0.0/0", "::/0"}
		k.note("nodePortAddresses", "it is empty, by which kube-proxy opens node ports on all addresses in this mode; [primary] would be the node's InternalIPs alone")
	}
}

func (k *kubeProxy) detectLocal(s *v1alpha1.Settings) {
	d := &v1alpha1.DetectLocal{Mode: v1alpha1.DetectLocalMode(k.text("detectLocalMode"))}
	cidrs, bridge, prefix := k.text("clusterCIDR"), k.text("detectLocal.bridgeInterface"), k.text("detectLocal.interfaceNamePrefix")
	switch d.Mode {
	case "", v1alpha1.DetectClusterCIDR:
		d.Mode = v1alpha1.DetectClusterCIDR
		for text := range strings.SplitSeq(cidrs, ",") {
			if text = strings.TrimSpace(text); text != "" {
				d.ClusterCIDRs = append(d.ClusterCIDRs, text)
			}
		}
		cidrs = ""
	case v1alpha1.DetectBridgeInterface:
		d.BridgeInterface, bridge = bridge, ""
	case v1alpha1.DetectInterfaceNamePrefix:
		d.InterfaceNamePrefix, prefix = prefix, ""
	}
	s.DetectLocal = d
	for path, unused := range map[string]string{
		"clusterCIDR": cidrs, "detectLocal.bridgeInterface": bridge, "detectLocal.interfaceNamePrefix": prefix,
	} {
		if unused != "" {
			k.note(path, "is of no use in detectLocalMode %s", d.Mode)
		}
	}
}

func (k *kubeProxy) conntrack(s *v1alpha1.Settings) {
	c := v1alpha1.Conntrack{
		MaxPerCore: k.number("conntrack.maxPerCore"), Min: k.number("conntrack.min"),
		TCPEstablishedTimeout: k.duration("conntrack.tcpEstablishedTimeout"),
		TCPCloseWaitTimeout:   k.duration("conntrack.tcpCloseWaitTimeout"),
		TCPBeLiberal:          k.truth("conntrack.tcpBeLiberal"),
		UDPTimeout:            k.duration("conntrack.udpTimeout"),
		UDPStreamTimeout:      k.duration("conntrack.udpStreamTimeout"),
	}
	if c != (v1alpha1.Conntrack{}) {
		s.Conntrack = &c
	}
}
