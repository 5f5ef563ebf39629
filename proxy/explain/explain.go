package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Explain answers a query. Without objects (nil) it knows no reasons beyond those
// that the table gives.
func Explain(q Query, k *Kernel, o *Objects) Answer {
	e := explainer{query: q, kernel: k, objects: o}
	a := Answer{To: q.To.String(), From: address(q.From)}
	if f := k.Frontend; f != nil {
		a.ServicePort, a.Kind, a.Class = f.Service, f.Kind.String(), uint32(f.Class)
		a.Slots, a.Local = e.slots(f.Slots), e.slots(f.Local)
	}
	for _, c := range k.clients(&q) {
		a.add(c, e.outcome(c))
	}
	a.settle()
	a.Unused = e.unused()
	a.Notes = e.notes()
	a.Summary = e.summary(&a)
	return a
}

type explainer struct {
	query   Query
	kernel  *Kernel
	objects *Objects
}

// add joins clients that fare alike.
func (a *Answer) add(c client, o Outcome) {
	for i := range a.Outcomes {
		if same := &a.Outcomes[i]; same.Verdict == o.Verdict && same.Reason == o.Reason && same.Masqueraded == o.Masqueraded {
			same.Clients = append(same.Clients, c.String())
			if c == node || same.Clients[0] == node.String() {
				same.join()
			}
			return
		}
	}
	o.Clients = []string{c.String()}
	a.Outcomes = append(a.Outcomes, o)
}

// join shows the hooks of others too: they differ for this node itself.
func (o *Outcome) join() {
	for i := range o.Steps {
		switch s := &o.Steps[i]; s.Chain {
		case "nat-prerouting", "nat-output":
			s.Chain = "nat-prerouting/output"
		case "filter-forward", "filter-output":
			s.Chain = "filter-forward/output"
		}
	}
}

// settle names no clients where all fare alike.
func (a *Answer) settle() {
	if len(a.Outcomes) == 1 {
		a.Outcomes[0].Clients = nil
	}
}

// claim is the service port that should have the frontend, nil if that is not known.
func (e *explainer) claim() *Claim {
	if e.objects == nil || len(e.objects.Claims) == 0 {
		return nil
	}
	return &e.objects.Claims[0]
}

func (e *explainer) slots(slots ruleset.Slots) []Slot {
	var list []Slot
	for i, b := range slots {
		if !b.IsValid() {
			continue
		}
		s := Slot{Number: i, Address: b}
		if ep := e.endpoint(b); ep != nil {
			s.Node, s.State = ep.Node, ep.State
		}
		list = append(list, s)
	}
	return list
}

func (e *explainer) endpoint(b model.Backend) *Endpoint {
	c := e.claim()
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(c.Endpoints, func(ep Endpoint) bool { return ep.Address == b })
	if i < 0 {
		return nil
	}
	return &c.Endpoints[i]
}

// unused lists the endpoints that some or all clients are not led to.
func (e *explainer) unused() []Unused {
	c, f := e.claim(), e.kernel.Frontend
	if c == nil || f == nil {
		return nil
	}
	var list []Unused
	for i := range c.Endpoints {
		ep := &c.Endpoints[i]
		u := Unused{Address: ep.Address, Node: ep.Node, State: ep.State}
		internalLocal := f.Kind == model.ClusterIP && c.Kind == localClusterIP
		switch {
		case internalLocal && !ep.Local:
			u.Why = ep.WhyLocal
		case internalLocal || ep.Cluster && (f.Policy != model.PolicyLocal || ep.Local):
			continue
		case !ep.Cluster && ep.Local:
			u.Why = "from inside the cluster: " + ep.WhyCluster
		case ep.Cluster:
			u.Why = "from outside: " + ep.WhyLocal
		default:
			u.Why = ep.WhyCluster
		}
		list = append(list, u)
	}
	return list
}

// localClusterIP is the kind of a cluster IP whose internal traffic policy is Local.
const localClusterIP = "ClusterIP, internalTrafficPolicy Local"

// KindOf names a frontend's kind in a Claim.
func KindOf(f *ruleset.Frontend) string {
	switch {
	case f.Kind == model.ClusterIP && f.Policy == model.PolicyLocal:
		return localClusterIP
	case f.Kind == model.ClusterIP:
		return f.Kind.String()
	}
	return f.Kind.String() + ", externalTrafficPolicy " + f.Policy.String()
}

// notes are what else an operator should know.
func (e *explainer) notes() []string {
	var notes []string
	k := e.kernel
	if e.objects == nil {
		notes = append(notes, "this is from the table alone: neither the agent nor the API was asked, so reasons are missing")
	}
	if k.Exists && !k.Hooked {
		notes = append(notes, fmt.Sprintf("packets do not meet table %s: it has no base chains, it is still being loaded", k.Table))
	}
	if e.query.From.IsValid() && k.Pods == PodsByInterface {
		notes = append(notes, "pods are told by the interface their packets come in by, so whether the source is one is not known here")
	}
	if c := e.claim(); c != nil {
		if c.Quarantine != "" {
			notes = append(notes, "the Service is quarantined: "+c.Quarantine)
		} else if e.differs(c) {
			notes = append(notes, "the table is not what the objects ask for; if that lasts, see: kube-vmap diff")
		}
	}
	if e.objects != nil && len(e.objects.Claims) > 1 {
		var losers []string
		for _, c := range e.objects.Claims[1:] {
			losers = append(losers, c.ServicePort)
		}
		notes = append(notes, fmt.Sprintf("%s also asks for it and does not get it: the older Service has it", strings.Join(losers, ", ")))
	}
	return notes
}

// differs reports whether the table has other backends than the objects ask for.
func (e *explainer) differs(c *Claim) bool {
	f := e.kernel.Frontend
	if f == nil {
		return true
	}
	same := func(slots ruleset.Slots, want []model.Backend) bool {
		have := (&ruleset.FrontendStatus{Slots: slots}).Backends()
		slices.SortFunc(have, netip.AddrPort.Compare)
		return slices.Equal(have, want)
	}
	return !same(f.Slots, c.Backends) || !same(f.Local, c.Local) || f.Blocked.String() != c.Blocked
}

// durationText is a duration as people write it: "3h", "90s".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
