package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// walk follows one client's packet through the table.
type walk struct {
	*explainer
	client  client
	suffix  string // of the family's sets and chains
	outcome Outcome
}

func (w *walk) step(chain, format string, args ...any) {
	w.outcome.Steps = append(w.outcome.Steps, Step{chain, fmt.Sprintf(format, args...)})
}

func (w *walk) end(v Verdict, format string, args ...any) {
	w.outcome.Verdict, w.outcome.Reason = v, fmt.Sprintf(format, args...)
}

// outcome is what becomes of a client's connection.
func (e *explainer) outcome(c client) Outcome {
	w := walk{explainer: e, client: c, suffix: "6"}
	if e.query.To.Addr.Is4() {
		w.suffix = "4"
	}
	switch {
	case !e.kernel.Exists:
		w.end(Untouched, "there is no table inet %s on this node: nothing is served", e.kernel.Table)
	case w.firewalled():
	default:
		w.nat()
	}
	return w.outcome
}

// firewalled is the chain firewall, before the destination is translated.
func (w *walk) firewalled() (dropped bool) {
	f := w.kernel.Frontend
	if f == nil || !f.Filtered {
		return false
	}
	from := w.query.From
	allowed := slices.ContainsFunc(f.Sources, func(p netip.Prefix) bool { return p.Contains(from) })
	switch {
	case !from.IsValid():
		w.step("firewall", "firewalled%s: only sources in %s may pass", w.suffix, prefixes(f.Sources))
		return false
	case allowed:
		w.step("firewall", "allowed-sources%s: %s is in %s", w.suffix, from, prefixes(f.Sources))
		return false
	}
	w.step("firewall", "allowed-sources%s: %s is not in %s, drop", w.suffix, from, prefixes(f.Sources))
	w.end(Dropped, "loadBalancerSourceRanges of %s allow only %s", serviceOf(f.Service), prefixes(f.Sources))
	return true
}

// nat is the chain services.
func (w *walk) nat() {
	k, f := w.kernel, w.kernel.Frontend
	hook := "nat-prerouting"
	if w.client == node {
		hook = "nat-output"
	}
	w.step(hook, "jump services")
	if f == nil {
		w.step("services", "services%s has no %s: the destination stays", w.suffix, w.query.To)
		w.unserved()
		return
	}
	if f.Kind == model.ClusterIP && (k.Masquerades == MasqueradesAll || k.Masquerades == MasqueradesOutside && w.client != pod) {
		w.step("services", "cluster-ips%s: jump mark-for-masquerade", w.suffix)
		w.outcome.Masqueraded = true
	}
	if f.Kind.IsExternal() {
		w.external()
		return
	}
	w.step("services", "services%s: goto %s", w.suffix, w.balancer("", f.Class))
	w.balance("", f.Class, f.Slots)
}

// external are the chains in front of the balancer that external frontends lead to.
func (w *walk) external() {
	f := w.kernel.Frontend
	if f.Policy == model.PolicyCluster {
		chain := w.balancer("external-", f.Class)
		w.step("services", "services%s (%s): goto %s", w.suffix, f.Kind, chain)
		w.step(chain, "jump mark-for-masquerade")
		w.outcome.Masqueraded = true
		w.balance("", f.Class, f.Slots)
		return
	}
	chain, local := w.balancer("external-local-", f.Class), "external-local"+w.suffix
	w.step("services", "services%s (%s): goto %s", w.suffix, f.Kind, chain)
	w.step(chain, "jump %s", local)
	switch w.client {
	case pod:
		w.step(local, "pods return, to all endpoints")
	case node:
		w.step(local, "fib saddr type local: goto mark-for-masquerade, and to all endpoints")
		w.outcome.Masqueraded = true
	default:
		w.others(local)
		return
	}
	w.balance("", f.Class, f.Slots)
}

// others are clients outside the cluster, under policy Local.
func (w *walk) others(chain string) {
	f := w.kernel.Frontend
	if f.LocalClass == 0 {
		w.step(chain, "local-services%s has no %s: accept, the destination stays", w.suffix, w.query.To)
		w.unserved()
		return
	}
	w.step(chain, "local-services%s: goto %s", w.suffix, w.balancer("local-", f.LocalClass))
	w.balance("local-", f.LocalClass, f.Local)
}

// balancer names the first chain of a balancer.
func (w *walk) balancer(prefix string, class ruleset.Class) string {
	kind := "lb"
	if w.kernel.Frontend.Affinity > 0 {
		kind = "affinity"
	}
	return fmt.Sprintf("%s%s%s-%d", prefix, kind, w.suffix, class)
}

// balance picks an endpoint.
func (w *walk) balance(prefix string, class ruleset.Class, slots ruleset.Slots) {
	f := w.kernel.Frontend
	n := len((&ruleset.FrontendStatus{Slots: slots}).Backends())
	plain := fmt.Sprintf("%slb%s-%d", prefix, w.suffix, class)
	if f.Affinity > 0 {
		if w.kernel.Binding.IsValid() {
			w.outcome.Bound = w.kernel.Binding
			w.step(w.balancer(prefix, class), "affinity%s: %s is bound to %s", w.suffix, w.query.From, w.kernel.Binding)
		} else {
			w.step(w.balancer(prefix, class), "affinity%s: no binding, goto %s", w.suffix, plain)
		}
	}
	switch {
	case w.outcome.Bound.IsValid():
	case n == 0:
		w.step(plain, "%sbackends%s has no slot of it: the destination stays", prefix, w.suffix)
		w.unserved()
		return
	default:
		w.step(plain, "%sbackends%s: dnat to %s", prefix, w.suffix, drawn(n))
	}
	if w.outcome.Masqueraded {
		w.step("nat-postrouting", "the source becomes an address of this node")
	}
	w.outcome.Endpoints = n
	w.outcome.Choice = w.choice(n)
	text := fmt.Sprintf("%s has %s", f.Service, count(n, "usable endpoint"))
	if f.Policy == model.PolicyLocal && w.client == outside {
		text += " on this node"
	}
	w.end(Forwarded, "%s", text)
}

func drawn(n int) string {
	if n == 1 {
		return "the only endpoint"
	}
	return fmt.Sprintf("one of %d endpoints, drawn at random", n)
}

// choice says how a connection gets its endpoint.
func (w *walk) choice(n int) string {
	f := w.kernel.Frontend
	switch {
	case w.outcome.Bound.IsValid():
		return fmt.Sprintf("session affinity leads this client to %s", w.outcome.Bound)
	case f.Affinity > 0:
		return fmt.Sprintf("a client keeps its endpoint until %s after its last new connection", durationText(f.Affinity))
	case n > 1:
		return "each connection gets one at random"
	}
	return ""
}

// unserved is the chain of that name, for what was not translated.
func (w *walk) unserved() {
	k, f := w.kernel, w.kernel.Frontend
	hook := "filter-forward"
	if w.client == node {
		hook = "filter-output"
	}
	const chain = "unserved"
	enter := func() { w.step(hook, "ct state new ct status ! dnat: jump %s", chain) }
	w.outcome.Masqueraded = false
	switch {
	case f != nil && f.Blocked == ruleset.Reject:
		enter()
		w.step(chain, "blocked%s: goto reject-new", w.suffix)
		w.end(Refused, "%s", w.emptyReason())
	case f != nil && f.Blocked == ruleset.Drop:
		enter()
		w.step(chain, "blocked%s: drop", w.suffix)
		w.end(Dropped, "%s", w.localReason())
	case k.ClusterIP:
		enter()
		w.step(chain, "cluster-ips%s: goto reject-new", w.suffix)
		w.end(Refused, "%s", w.portReason())
	case k.ServiceCIDR.IsValid():
		enter()
		w.step(chain, "service-cidrs%s: drop", w.suffix)
		w.end(Dropped, "no Service has the address %s, which is in the service CIDR %s", w.query.To.Addr, k.ServiceCIDR)
	default:
		w.end(Untouched, "%s", w.untouchedReason())
	}
}

// emptyReason says why a frontend has no endpoint at all.
func (w *walk) emptyReason() string {
	name := w.kernel.Frontend.Service
	c := w.claim()
	switch {
	case c == nil:
		return name + " has no usable endpoint"
	case len(c.Endpoints) == 0:
		return name + " has no endpoints"
	case len(c.Endpoints) == 1:
		return fmt.Sprintf("the only endpoint of %s is unusable: %s", name, c.Endpoints[0].WhyCluster)
	}
	if slices.ContainsFunc(c.Endpoints, func(ep Endpoint) bool { return ep.Ready }) {
		return name + " has no usable endpoint in the table"
	}
	return fmt.Sprintf("none of the %d endpoints of %s is ready", len(c.Endpoints), name)
}

// localReason says why a policy Local leaves nobody.
func (w *walk) localReason() string {
	f := w.kernel.Frontend
	policy := "internalTrafficPolicy"
	if f.Kind.IsExternal() {
		policy = "externalTrafficPolicy"
	}
	text := fmt.Sprintf("%s of %s is Local, and no usable endpoint is on this node", policy, serviceOf(f.Service))
	if c := w.claim(); c != nil {
		elsewhere := 0
		for i := range c.Endpoints {
			if c.Endpoints[i].Cluster {
				elsewhere++
			}
		}
		text += fmt.Sprintf(" (on others: %d)", elsewhere)
	}
	return text
}

// portReason says why a port of a cluster IP leads nowhere.
func (w *walk) portReason() string {
	text := fmt.Sprintf("%s is a cluster IP without a port %d/%s", w.query.To.Addr, w.query.To.Port, w.query.To.Protocol)
	if w.objects != nil && len(w.objects.Ports) > 0 {
		text += ": it has " + strings.Join(w.objects.Ports, ", ")
	}
	return text
}

func (w *walk) untouchedReason() string {
	if w.objects != nil && w.objects.Unserved != "" {
		return w.objects.Unserved
	}
	return fmt.Sprintf("no Service has %s on this node; the packet goes its way as if there were no kube-vmap", w.query.To)
}

func prefixes(list []netip.Prefix) string {
	const most = 4
	texts := make([]string, 0, most)
	for _, p := range list[:min(most, len(list))] {
		texts = append(texts, p.String())
	}
	text := strings.Join(texts, ", ")
	if len(list) > most {
		text += fmt.Sprintf(" and %d more", len(list)-most)
	}
	return text
}

// serviceOf takes the port off "namespace/name:port".
func serviceOf(servicePort string) string {
	name, _, _ := strings.Cut(servicePort, ":")
	return name
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// summary is the answer in one sentence.
func (e *explainer) summary(a *Answer) string {
	text := "Connections to " + a.To
	if a.From != "" {
		text = fmt.Sprintf("Connections from %s to %s", a.From, a.To)
	}
	for i, part := range a.parts() {
		if i > 0 {
			text += ";"
		}
		if len(part.Clients) > 0 {
			text += " from " + strings.Join(part.Clients, " and ")
		}
		since := ", since "
		if part.Verdict == Forwarded {
			since = ": "
		}
		text += fmt.Sprintf(" are %s%s%s", part.Verdict, since, part.Reason)
	}
	if len(a.Outcomes) == 1 && a.Outcomes[0].Choice != "" {
		text += "; " + a.Outcomes[0].Choice
	}
	if f := e.kernel.Frontend; f != nil && f.Filtered && !e.query.From.IsValid() {
		text += fmt.Sprintf("; but only sources in %s may connect, others are dropped", prefixes(f.Sources))
	}
	return text + "."
}

// parts are the outcomes, with those joined that differ in masquerading only.
func (a *Answer) parts() []Outcome {
	var parts []Outcome
	for i := range a.Outcomes {
		o := a.Outcomes[i]
		if n := len(parts); n > 0 && parts[n-1].Verdict == o.Verdict && parts[n-1].Reason == o.Reason {
			parts[n-1].Clients = append(slices.Clone(parts[n-1].Clients), o.Clients...)
			continue
		}
		parts = append(parts, o)
	}
	if len(parts) == 1 {
		parts[0].Clients = nil
	}
	return parts
}
