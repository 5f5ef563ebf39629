package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ExternalIPs says which addresses of spec.externalIPs are served. Whoever may
// write a Service may write any address there, also one of somebody else, and so
// have what the node's pods send to it (CVE-2020-8554). The zero value serves all,
// as Kubernetes does. Addresses in a Service's status don't fall under it: only
// controllers can write these.
type ExternalIPs struct {
	// Restricted serves only what is in CIDRs: nothing, if there are none.
	Restricted bool
	CIDRs      []netip.Prefix
}

// ParseExternalIPs reads "all", "none", or prefixes.
func ParseExternalIPs(texts []string) (ExternalIPs, error) {
	if len(texts) == 1 && texts[0] == "all" {
		return ExternalIPs{}, nil
	}
	e := ExternalIPs{Restricted: true}
	if len(texts) == 1 && texts[0] == "none" {
		return e, nil
	}
	for _, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return ExternalIPs{}, fmt.Errorf("%q is no prefix such as 203.0.113.0/24 or 2001:db8::/64, and not all or none alone", text)
		}
		e.CIDRs = append(e.CIDRs, p.Masked())
	}
	if len(e.CIDRs) == 0 {
		return ExternalIPs{}, fmt.Errorf("it is empty: say all, none, or prefixes such as 203.0.113.0/24")
	}
	return e, nil
}

// Allow reports whether the address may be served.
func (e *ExternalIPs) Allow(a netip.Addr) bool {
	return !e.Restricted || slices.ContainsFunc(e.CIDRs, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Equal reports whether both serve the same addresses by the same words.
func (e *ExternalIPs) Equal(o *ExternalIPs) bool {
	return e.Restricted == o.Restricted && slices.Equal(e.CIDRs, o.CIDRs)
}

// String is what ParseExternalIPs reads, with commas.
func (e ExternalIPs) String() string {
	switch {
	case !e.Restricted:
		return "all"
	case len(e.CIDRs) == 0:
		return "none"
	}
	texts := make([]string, len(e.CIDRs))
	for i, p := range e.CIDRs {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// MarshalText makes it a string in JSON.
func (e ExternalIPs) MarshalText() ([]byte, error) { return []byte(e.String()), nil }
