package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
)

// Merged is what objects say for one node.
type Merged struct {
	Settings v1alpha1.Settings
	Objects  []*v1alpha1.ProxyConfig // those that are for the node, the strongest last
}

// ConflictError says that two objects of the same priority give a field different
// values.
type ConflictError struct {
	Field string // such as spec.coalesce
	One   *v1alpha1.ProxyConfig
	Other *v1alpha1.ProxyConfig // behind One by its name
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: ProxyConfig %s and ProxyConfig %s give it different values at the same priority %d; give one of them a higher spec.priority",
		e.Field, e.One.Name, e.Other.Name, priority(e.One))
}

// InvalidError says that an object can't be used.
type InvalidError struct {
	Object *v1alpha1.ProxyConfig
	Err    error
}

func (e *InvalidError) Error() string { return fmt.Sprintf("ProxyConfig %s: %v", e.Object.Name, e.Err) }
func (e *InvalidError) Unwrap() error { return e.Err }

// Merge decides what objects say for a node with these labels. The object named
// default comes first; then those whose nodeSelector has only labels of the node,
// in the order of their priorities; each overrides the fields that it sets. The
// order of the list means nothing.
//
// It fails with an *[InvalidError] if one of them is invalid, and with a
// *[ConflictError] if two of the same priority, with nothing above them, give a
// field different values.
func Merge(objects []v1alpha1.ProxyConfig, node map[string]string) (Merged, error) {
	var m Merged
	for _, o := range objects {
		if isFor(&o, node) {
			m.Objects = append(m.Objects, &o)
		}
	}
	slices.SortFunc(m.Objects, func(a, b *v1alpha1.ProxyConfig) int {
		return cmp.Or(cmp.Compare(priority(a), priority(b)), strings.Compare(a.Name, b.Name))
	})
	for _, o := range m.Objects {
		if err := Validate(o).ToAggregate(); err != nil {
			return m, &InvalidError{o, err}
		}
	}
	return m, m.merge()
}

func isFor(o *v1alpha1.ProxyConfig, node map[string]string) bool {
	return o.Name == v1alpha1.DefaultName || labels.SelectorFromSet(o.Spec.NodeSelector).Matches(labels.Set(node))
}

// priority is that of an object; that of the one named default is below all.
func priority(o *v1alpha1.ProxyConfig) int32 {
	switch {
	case o.Name == v1alpha1.DefaultName:
		return -1
	case o.Spec.Priority == nil:
		return 0
	}
	return *o.Spec.Priority
}

// merge takes each field from the last object that sets it.
func (m *Merged) merge() error {
	into := fields(&m.Settings)
	all := make([][]leaf, len(m.Objects))
	for i, o := range m.Objects {
		all[i] = fields(&o.Spec.Settings)
	}
	for f := range into {
		last := -1
		for i := range m.Objects {
			value := all[i][f].value
			if value.IsZero() {
				continue
			}
			into[f].set(value)
			if last >= 0 && priority(m.Objects[last]) == priority(m.Objects[i]) &&
				!reflect.DeepEqual(all[last][f].value.Interface(), value.Interface()) && !m.isOverridden(all, f, i) {
				return &ConflictError{into[f].path, m.Objects[last], m.Objects[i]}
			}
			last = i
		}
	}
	return nil
}

// isOverridden reports whether an object of a higher priority than the i-th sets
// the field.
func (m *Merged) isOverridden(all [][]leaf, f, i int) bool {
	for j := i + 1; j < len(m.Objects); j++ {
		if priority(m.Objects[j]) > priority(m.Objects[i]) && !all[j][f].value.IsZero() {
			return true
		}
	}
	return false
}

// leaf is a field that objects override by itself.
type leaf struct {
	path  string // spec.conntrack.min
	value reflect.Value
	set   func(reflect.Value)
}

// fields lists the fields of settings, always the same ones in the same order.
// Structs are entered, but for those whose fields belong together.
func fields(s *v1alpha1.Settings) []leaf {
	var list []leaf
	walk("spec", reflect.ValueOf(s).Elem(), func() reflect.Value { return reflect.ValueOf(s).Elem() }, &list)
	return list
}

var whole = reflect.TypeFor[*v1alpha1.DetectLocal]()

// walk lists the fields of a struct. made returns it for writing, and makes it if
// it isn't there.
func walk(path string, v reflect.Value, made func() reflect.Value, list *[]leaf) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		at, typ := path+"."+name, v.Type().Field(i).Type
		if typ.Kind() != reflect.Pointer || typ.Elem().Kind() != reflect.Struct || typ == whole {
			*list = append(*list, leaf{at, v.Field(i), func(value reflect.Value) { made().Field(i).Set(value) }})
			continue
		}
		inner := v.Field(i).Elem()
		if !inner.IsValid() {
			inner = reflect.Zero(typ.Elem())
		}
		walk(at, inner, func() reflect.Value {
			p := made().Field(i)
			if p.IsNil() {
				p.Set(reflect.New(typ.Elem()))
			}
			return p.Elem()
		}, list)
	}
}
