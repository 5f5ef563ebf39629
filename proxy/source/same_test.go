package source

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// eachFieldCounts changes one field of a T after the other and asks whether the
// two are still the same: a field that is added to the model must not be missed.
func eachFieldCounts[T any](t *testing.T, same func(a, b *T) bool, except ...string) {
	t.Helper()
	var zero T
	if !same(&zero, &zero) {
		t.Errorf("%T: not the same as itself", zero)
	}
	for f := range reflect.TypeFor[T]().Fields() {
		var changed T
		v := reflect.ValueOf(&changed).Elem().FieldByIndex(f.Index)
		v.Set(other(t, f.Type))
		excepted := false
		for _, name := range except {
			excepted = excepted || name == f.Name
		}
		if same(&zero, &changed) != excepted || same(&changed, &zero) != excepted {
			t.Errorf("%T.%s: told apart %t, want %t", zero, f.Name, excepted, !excepted)
		}
	}
}

// other is a value of the type that is not its zero.
func other(t *testing.T, of reflect.Type) reflect.Value {
	switch v := reflect.New(of).Elem(); v.Interface().(type) {
	case netip.Addr:
		return reflect.ValueOf(netip.MustParseAddr("192.0.2.1"))
	case netip.Prefix:
		return reflect.ValueOf(netip.MustParsePrefix("192.0.2.0/24"))
	case time.Time:
		return reflect.ValueOf(time.Unix(1, 0))
	}
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(1)
	case reflect.Slice:
		v = reflect.Append(v, other(t, of.Elem()))
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(other(t, of.Key()), other(t, of.Elem()))
	case reflect.Struct:
		v.Field(0).Set(other(t, of.Field(0).Type))
	default:
		t.Fatalf("no other value of %s is known: add one here", of)
	}
	return v
}

func TestEachFieldCounts(t *testing.T) {
	eachFieldCounts(t, sameService)
	eachFieldCounts(t, sameSlice, "Triggered")
	eachFieldCounts(t, func(a, b *model.Endpoint) bool { return sameEndpoint(*a, *b) })
	eachFieldCounts(t, sameHints)
	eachFieldCounts(t, sameNode)
}

func TestSameHintsOfTwoCaches(t *testing.T) {
	if !sameHints(&model.Hints{Zones: []string{"a"}}, &model.Hints{Zones: []string{"a"}}) {
		t.Error("equal hints are told apart")
	}
}
