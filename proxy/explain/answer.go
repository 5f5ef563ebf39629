package explain

import (
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Verdict is what becomes of a new connection.
type Verdict string

// The verdicts.
const (
	Forwarded Verdict = "forwarded"   // to an endpoint
	Refused   Verdict = "refused"     // the client hears so at once
	Dropped   Verdict = "dropped"     // the client hears nothing
	Untouched Verdict = "not handled" // no Service has the address
)

// Answer is what there is to say about a query.
type Answer struct {
	To      string `json:"to"`
	From    string `json:"from,omitempty"`
	Summary string `json:"summary"` // one sentence

	ServicePort string `json:"servicePort,omitempty"`
	Kind        string `json:"kind,omitempty"`
	Class       uint32 `json:"class,omitempty"`

	Outcomes []Outcome `json:"outcomes"`
	Slots    []Slot    `json:"slots,omitempty"`      // for Cluster, and inside the cluster
	Local    []Slot    `json:"localSlots,omitempty"` // for others, where the policy is Local
	Unused   []Unused  `json:"unused,omitempty"`     // endpoints that are in no slot
	Notes    []string  `json:"notes,omitempty"`
}

// Outcome is what becomes of the connections of some clients.
type Outcome struct {
	Clients     []string      `json:"clients,omitempty"` // empty: all
	Verdict     Verdict       `json:"verdict"`
	Reason      string        `json:"reason"`              // one sentence
	Masqueraded bool          `json:"masqueraded"`         // the endpoint sees this node's address
	Endpoints   int           `json:"endpoints,omitempty"` // of how many one is taken,
	Choice      string        `json:"choice,omitempty"`    // and how
	Bound       model.Backend `json:"bound,omitzero"`      // the one that session affinity leads to
	Steps       []Step        `json:"steps"`
}

// Step is one station of the way through the table.
type Step struct {
	Chain string `json:"chain"`
	Does  string `json:"does"`
}

// Slot is a numbered place that connections are led to.
type Slot struct {
	Number  int           `json:"slot"`
	Address model.Backend `json:"address"`
	Node    string        `json:"node,omitempty"`
	State   string        `json:"state,omitempty"`
}

// Unused is an endpoint that gets no new connections, or none from outside.
type Unused struct {
	Address model.Backend `json:"address"`
	Node    string        `json:"node,omitempty"`
	State   string        `json:"state"`
	Why     string        `json:"why"`
}

// Reaches reports whether connections of some clients are forwarded.
func (a *Answer) Reaches() bool {
	return slices.ContainsFunc(a.Outcomes, func(o Outcome) bool { return o.Verdict == Forwarded })
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
