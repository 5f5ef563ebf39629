package config

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

// Validate says what is wrong with an object, in the words of the API server, which
// refuses the same objects by the rules of the definition (the markers of the
// types). It is for files, and for objects that came past these rules.
func Validate(o *v1alpha1.ProxyConfig) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateNodes(spec, o)
	v := &validator{}
	v.settings(spec, &o.Spec.Settings)
	return append(errs, v.errs...)
}

func validateNodes(spec *field.Path, o *v1alpha1.ProxyConfig) (errs field.ErrorList) {
	selector, level := spec.Child("nodeSelector"), spec.Child("priority")
	isDefault := o.Name == v1alpha1.DefaultName
	switch {
	case !isDefault && len(o.Spec.NodeSelector) == 0:
		errs = append(errs, field.Required(selector, "spec.nodeSelector is missing: it says which nodes the object is for; settings for all nodes belong in the object named default"))
	case isDefault && o.Spec.NodeSelector != nil:
		errs = append(errs, field.Invalid(selector, o.Spec.NodeSelector, "the object named default is for all nodes; give the object another name, or leave the selector out"))
	case len(o.Spec.NodeSelector) > 16:
		errs = append(errs, field.TooMany(selector, len(o.Spec.NodeSelector), 16))
	}
	if p := o.Spec.Priority; p != nil {
		if isDefault {
			errs = append(errs, field.Invalid(level, *p, "the object named default comes before all others; give the object another name, or leave the priority out"))
		} else if *p < 0 || *p > 1000000 {
			errs = append(errs, field.Invalid(level, *p, "must be from 0 to 1000000"))
		}
	}
	return errs
}

// validator collects what is wrong.
type validator struct{ errs field.ErrorList }

func (v *validator) invalid(at *field.Path, value any, detail string) {
	v.errs = append(v.errs, field.Invalid(at, value, detail))
}

func (v *validator) settings(at *field.Path, s *v1alpha1.Settings) {
	v.prefixes(at.Child("nodePortAddresses"), s.NodePortAddresses, []string{"primary"},
		"primary stands alone; use [primary], or prefixes such as 192.0.2.0/24",
		"is no prefix; use prefixes such as 192.0.2.0/24 or 2001:db8::/64, or primary alone")
	v.prefixes(at.Child("externalIPs"), s.ExternalIPs, []string{"all", "none"},
		"all and none stand alone; use [all], [none], or prefixes such as 203.0.113.0/24",
		"is no prefix; use prefixes such as 203.0.113.0/24 or 2001:db8::/64, or all or none alone")
	if s.DetectLocal != nil {
		v.detectLocal(at.Child("detectLocal"), s.DetectLocal)
	}
	v.number(at.Child("masqueradeBit"), s.MasqueradeBit, 0, 31)
	v.duration(at.Child("coalesce"), s.Coalesce, 0, time.Second, "is too long; use 0s to 1s, such as 5ms")
	if a := s.SessionAffinity; a != nil {
		v.number(at.Child("sessionAffinity", "maxBindings"), a.MaxBindings, 1, 1<<24)
	}
	if s.Conntrack != nil {
		v.conntrack(at.Child("conntrack"), s.Conntrack)
	}
	oneOf(v, at.Child("counters"), s.Counters, v1alpha1.CountersNone, v1alpha1.CountersServices, v1alpha1.CountersEndpoints)
	oneOf(v, at.Child("tableOwnership"), s.TableOwnership, v1alpha1.OwnershipAuto, v1alpha1.OwnershipRequired, v1alpha1.OwnershipDisabled)
	if r := s.Repair; r != nil {
		oneOf(v, at.Child("repair", "mode"), r.Mode, v1alpha1.RepairChanges, v1alpha1.ReportChanges, v1alpha1.IgnoreChanges)
		v.duration(at.Child("repair", "maxDelay"), r.MaxDelay, 10*time.Millisecond, time.Minute, "is out of range; use 10ms to 1m")
	}
	if l := s.Logging; l != nil {
		v.number(at.Child("logging", "verbosity"), l.Verbosity, 0, 10)
	}
	v.serviceProxyName(at.Child("serviceProxyName"), s.ServiceProxyName)
}

func (v *validator) conntrack(at *field.Path, c *v1alpha1.Conntrack) {
	const most = 1<<31 - 1
	v.number(at.Child("maxPerCore"), c.MaxPerCore, 0, most)
	v.number(at.Child("min"), c.Min, 0, most)
	v.duration(at.Child("tcpEstablishedTimeout"), c.TCPEstablishedTimeout, 0, anyTime, "")
	v.duration(at.Child("tcpCloseWaitTimeout"), c.TCPCloseWaitTimeout, 0, anyTime, "")
	v.duration(at.Child("udpTimeout"), c.UDPTimeout, 0, anyTime, "")
	v.duration(at.Child("udpStreamTimeout"), c.UDPStreamTimeout, 0, anyTime, "")
}

func (v *validator) detectLocal(at *field.Path, d *v1alpha1.DetectLocal) {
	oneOf(v, at.Child("mode"), &d.Mode, v1alpha1.DetectClusterCIDR, v1alpha1.DetectNodeCIDR,
		v1alpha1.DetectBridgeInterface, v1alpha1.DetectInterfaceNamePrefix)
	v.prefixes(at.Child("clusterCIDRs"), d.ClusterCIDRs, nil, "",
		"is no prefix; use prefixes such as 10.244.0.0/16 or fd00:10:244::/56")
	if d.ClusterCIDRs != nil && d.Mode != v1alpha1.DetectClusterCIDR {
		v.invalid(at, d.Mode, "clusterCIDRs are of no use in this mode; use mode ClusterCIDR, or leave them out")
	}
	v.interfaceName(at, d, v1alpha1.DetectBridgeInterface, "bridgeInterface", d.BridgeInterface,
		"the name of the pods' bridge such as cni0", "is no name of an interface; use one such as cni0")
	v.interfaceName(at, d, v1alpha1.DetectInterfaceNamePrefix, "interfaceNamePrefix", d.InterfaceNamePrefix,
		"how the names of the pods' interfaces begin, such as veth", "is no beginning of an interface's name; use one such as veth, without a star")
}

var interfaceName = regexp.MustCompile(`^[^/\s*]+$`)

// interfaceName checks the name that one mode needs and the others have no use for.
func (v *validator) interfaceName(at *field.Path, d *v1alpha1.DetectLocal, mode v1alpha1.DetectLocalMode, name, value, what, wrong string) {
	const longest = 15 // IFNAMSIZ, without the NUL
	switch {
	case value == "" && d.Mode == mode:
		v.invalid(at, d.Mode, "mode "+string(mode)+" needs "+name+", "+what)
	case value == "":
	case d.Mode != mode:
		v.invalid(at, d.Mode, name+" is of no use in this mode; use mode "+string(mode)+", or leave it out")
	case len(value) > longest:
		v.errs = append(v.errs, field.TooLong(at.Child(name), value, longest))
	case !interfaceName.MatchString(value):
		v.invalid(at.Child(name), value, wrong)
	}
}

// prefixes checks a list of prefixes, or one of some words.
func (v *validator) prefixes(at *field.Path, list, words []string, alone, wrong string) {
	const most = 64
	switch {
	case list == nil:
		return
	case len(list) == 0:
		v.invalid(at, list, "is empty; give at least one, or leave the field out")
	case len(list) > most:
		v.errs = append(v.errs, field.TooMany(at, len(list), most))
	case len(list) > 1 && slices.ContainsFunc(list, func(s string) bool { return slices.Contains(words, s) }):
		v.invalid(at, list, alone)
	}
	for _, text := range list {
		if _, err := parsePrefix(text); err != nil && !slices.Contains(words, text) {
			v.invalid(at, list, `"`+text+`" `+wrong)
			return
		}
	}
}

// parsePrefix reads what isCIDR of the API server's CEL takes: no IPv4 addresses
// mapped into IPv6.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() {
		err = errors.New("it is an IPv4 prefix mapped into IPv6")
	}
	return p.Masked(), err
}

func (v *validator) number(at *field.Path, n *int32, least, most int32) {
	switch {
	case n == nil:
	case *n < least:
		v.errs = append(v.errs, field.Invalid(at, *n, "should be greater than or equal to "+decimal(least)))
	case *n > most:
		v.errs = append(v.errs, field.Invalid(at, *n, "should be less than or equal to "+decimal(most)))
	}
}

var durationForm = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

// anyTime is longer than every time that durationForm takes.
const anyTime = 1<<63 - 1

func (v *validator) duration(at *field.Path, d *v1alpha1.Duration, least, most time.Duration, outside string) {
	if d == nil {
		return
	}
	if !durationForm.MatchString(string(*d)) {
		v.invalid(at, *d, "is no time; use one such as 5ms, 30s or 1h30m")
		return
	}
	if t := timeOf(*d); t < least || t > most {
		v.invalid(at, *d, outside)
	}
}

var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`)

func (v *validator) serviceProxyName(at *field.Path, name *string) {
	const longest = 63
	switch {
	case name == nil:
	case len(*name) > longest:
		v.errs = append(v.errs, field.TooLong(at, *name, longest))
	case !labelValue.MatchString(*name):
		v.invalid(at, *name, "is no value of a label; use letters, digits, -, _ and ., with a letter or digit at both ends")
	}
}

func oneOf[T ~string](v *validator, at *field.Path, value *T, all ...T) {
	if value != nil && !slices.Contains(all, *value) {
		v.errs = append(v.errs, field.NotSupported(at, *value, all))
	}
}
