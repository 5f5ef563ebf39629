// Package convert turns API objects into the proxy's model: pure functions of
// one object each, used by every source so that all of them take in the same
// things.
//
// An object's sound parts always come through. What can't be used is left out
// and told as a [model.Problem] that names the field and says what to do. Input
// that is odd but that the API accepts (addresses with leading zeros, ranges with
// blanks or host bits, IPv4-mapped IPv6) is taken and made canonical.
package convert

import (
	"fmt"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Converter converts objects for one proxy. It remembers strings and hints, so
// that 100,000 endpoints share the names of their nodes and zones; it therefore
// belongs to one goroutine. Two converters yield equal values for equal objects.
type Converter struct {
	intake
	names interner
	hints hintCache
}

// New makes a converter for the proxy of that name: it takes the Services whose
// label service.kubernetes.io/service-proxy-name says so, or, for an empty name,
// those without the label.
func New(serviceProxyName string) *Converter {
	return &Converter{intake: intake{serviceProxyName: serviceProxyName}}
}

// problems collects what is wrong with one object.
type problems []model.Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, model.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

// item is the path of one entry of a list: "spec.ports[1]".
func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
