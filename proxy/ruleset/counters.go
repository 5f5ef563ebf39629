package ruleset

import (
	"fmt"
	"strings"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Counters say what the table counts: new connections, by counters of elements. A
// count costs the first packet of a connection some nanoseconds, and an element 16
// bytes of kernel memory for each possible CPU.
type Counters uint8

// The levels of Counters. CountEndpoints includes CountServices.
const (
	CountNothing   Counters = iota
	CountServices           // per frontend
	CountEndpoints          // and per backend of a frontend
)

var countersNames = [...]string{"off", "services", "endpoints"}

func (c Counters) String() string { return countersNames[c] }

// MarshalText implements encoding.TextMarshaler.
func (c Counters) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Counters) UnmarshalText(text []byte) error {
	for i, name := range countersNames {
		if name == string(text) {
			*c = Counters(i)
			return nil
		}
	}
	return fmt.Errorf("read counters: %q must be off, services or endpoints", text)
}

// Count is how many new connections an element has counted: one of a frontend, or
// one of its slots.
type Count struct {
	Frontend    model.FrontendKey
	ServicePort model.ServicePortName // as the element's comment names it; of a slot: none
	Slot        uint32                // of a slot,
	Backend     model.Backend         // and whom it leads to
	IsLocal     bool                  // of a slot of local-backends
	Connections uint64
}

// CountOf reads an element's count. ok is false if elements of this set count
// nothing.
func CountOf(set *nft.Set, e *nft.Element) (c Count, ok bool) {
	f, name, ok := splitName(set.Name)
	if !ok || !set.Counters {
		return c, false
	}
	c = Count{Frontend: f.keyOf(&e.Key, 0), Connections: e.Packets}
	switch name {
	case "services":
		c.ServicePort = parseComment(e.Comment, c.Frontend.Protocol)
		return c, true
	case "backends", "local-backends":
		c.Slot, c.Backend, c.IsLocal = f.slotOf(&e.Key), f.backendOf(&e.Data), name == "local-backends"
		return c, true
	}
	return c, false
}

// splitName takes the family off the name of a set.
func splitName(set string) (f *family, name string, ok bool) {
	for _, f := range []*family{ipv4, ipv6} {
		if name, ok := strings.CutSuffix(set, f.suffix); ok {
			return f, name, true
		}
	}
	return nil, "", false
}

// parseComment is the inverse of comment, but for names that are too long for one:
// these stay shortened.
func parseComment(text string, protocol model.Protocol) model.ServicePortName {
	name := model.ServicePortName{Protocol: protocol}
	text, _ = readComment(text)
	service, port, _ := strings.Cut(text, ":")
	name.Port = port
	name.Service.Namespace, name.Service.Name, _ = strings.Cut(service, "/")
	return name
}
