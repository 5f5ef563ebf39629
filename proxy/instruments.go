package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Instruments are what the loop tells of its work. Their methods return at once.
type Instruments struct {
	Metrics *metrics.Metrics
	Health  *health.State
	Ports   HealthPorts // health-check node ports
	Events  Recorder
}

// HealthPorts answers load balancers on the Services' health-check node ports;
// *health.Servers does.
type HealthPorts interface {
	SetServices(map[model.ServiceName]health.Service)
	SetNodeAddrs([]netip.Addr)
}

// Instrument replaces the instruments that a proxy has from New: metrics that
// nobody reads, and no events. Fields that are nil stay. Call it before Run.
func (p *Proxy) Instrument(i Instruments) {
	if i.Metrics != nil {
		p.instruments.Metrics = i.Metrics
	}
	if i.Health != nil {
		p.instruments.Health = i.Health
	}
	if i.Ports != nil {
		p.instruments.Ports = i.Ports
	}
	if i.Events != nil {
		p.instruments.Events = i.Events
	}
	p.inbox.queued = p.instruments.queued
}

func defaultInstruments() Instruments {
	return Instruments{
		Metrics: metrics.New(metrics.Options{}), Health: health.NewState(health.DefaultTimeout),
		Ports: noPorts{}, Events: noEvents{},
	}
}

type noPorts struct{}

func (noPorts) SetServices(map[model.ServiceName]health.Service) {}
func (noPorts) SetNodeAddrs([]netip.Addr)                        {}

// queued is told of each change that came, on the source's goroutine.
func (i *Instruments) queued() {
	now := time.Now()
	i.Health.Queued(now)
	i.Metrics.Queued(now)
}

// tally is what the loop counts of the services, so that totals follow changes.
type tally struct {
	ports     map[model.ServiceName]health.Service
	noLocal   map[model.ServiceName]localTally // services that have any
	noLocals  localTally                       // their sum
	conflicts map[model.ServiceName][]ruleset.Conflict
	ignored   map[model.ServiceName][]netip.Addr // external IPs
	triggers  []trigger
	elements  map[string]int // of each set
}

// localTally counts service ports without a local endpoint, by traffic and family.
type localTally [2][2]int

// trigger is a change of endpoints whose way into the kernel is measured.
type trigger struct {
	at     time.Time
	family metrics.IPFamily
}

func newTally() tally {
	return tally{
		ports:     map[model.ServiceName]health.Service{},
		noLocal:   map[model.ServiceName]localTally{},
		conflicts: map[model.ServiceName][]ruleset.Conflict{},
		ignored:   map[model.ServiceName][]netip.Addr{},
		elements:  map[string]int{},
	}
}

// noteUpdate counts an update that was taken in.
func (p *Proxy) noteUpdate(u *model.Update) {
	m := p.instruments.Metrics
	m.ServiceChanges(len(u.Services))
	m.EndpointChanges(len(u.Slices))
	m.Quarantined(len(p.cluster.problems) + len(p.quarantine.aside))
	if u.Node != nil {
		p.instruments.Health.SetNodeLeaving(u.Node.Leaving)
	}
	for _, s := range u.Slices {
		if p.synced && s != nil && !s.Triggered.IsZero() && len(s.Endpoints) > 0 {
			p.tally.triggers = append(p.tally.triggers, trigger{s.Triggered, metrics.FamilyOf(s.Endpoints[0].Addr)})
		}
	}
	for _, svc := range u.Services {
		if svc != nil {
			p.noteUnfiltered(svc)
		}
	}
	for ref, problems := range u.Problems {
		for _, problem := range problems {
			p.log.Info("quarantined", "object", ref.String(), "problem", problem.String())
			p.record(ref, Warning, reasonQuarantined, problem.String())
		}
	}
}

// noteDesired counts what a service wants.
func (p *Proxy) noteDesired(name model.ServiceName, d *ruleset.Desired) {
	var now localTally
	seen := map[noLocalPort]bool{}
	for i := range d.Frontends {
		f := &d.Frontends[i]
		if f.Policy != model.PolicyLocal || f.Blocked != ruleset.Drop {
			continue
		}
		port := noLocalPort{f.Name, metrics.Internal, metrics.FamilyOf(f.Key.Addr)}
		if f.Kind.IsExternal() {
			port.traffic = metrics.External
		}
		if !seen[port] {
			seen[port] = true
			now[port.traffic][port.family]++
		}
	}
	p.tally.replace(name, now)
	p.noteIgnored(name, d.Ignored)
}

type noLocalPort struct {
	name    model.ServicePortName
	traffic metrics.Traffic
	family  metrics.IPFamily
}

func (t *tally) replace(name model.ServiceName, now localTally) {
	before := t.noLocal[name]
	for traffic := range now {
		for family := range now[traffic] {
			t.noLocals[traffic][family] += now[traffic][family] - before[traffic][family]
		}
	}
	if now == (localTally{}) {
		delete(t.noLocal, name)
		return
	}
	t.noLocal[name] = now
}

// noteIgnored tells a Service of the external IPs that it does not get, once each.
func (p *Proxy) noteIgnored(name model.ServiceName, now []netip.Addr) {
	before := p.tally.ignored[name]
	for _, ip := range now {
		if slices.Contains(before, ip) {
			continue
		}
		p.log.Info("external IP ignored", "service", name.String(), "address", ip.String(), "allowed", p.config.ExternalIPs.String())
		p.record(serviceRef(name), Warning, reasonExternalIP, fmt.Sprintf(
			"spec.externalIPs: %s is ignored, since kube-vmap is configured to serve %s", ip, allowedExternalIPs(&p.config.ExternalIPs)))
	}
	if len(now) == 0 {
		delete(p.tally.ignored, name)
		return
	}
	p.tally.ignored[name] = now
}

func allowedExternalIPs(e *ruleset.ExternalIPs) string {
	if len(e.CIDRs) == 0 {
		return "no external IPs"
	}
	return "only external IPs in " + e.String()
}

// noteConflicts tells a service of the frontends that it wants and does not have,
// once each.
func (p *Proxy) noteConflicts(name model.ServiceName) {
	now, before := p.tracker.Claims().Conflicts(name), p.tally.conflicts[name]
	for _, c := range now {
		if slices.Contains(before, c) {
			continue
		}
		message := fmt.Sprintf("%s belongs to the older Service %s; give one of the two another address or port", c.Key, c.Winner)
		p.log.Info("conflict", "service", name.String(), "frontend", c.Key.String(), "winner", c.Winner.String())
		p.record(serviceRef(name), Warning, reasonConflict, message)
	}
	if len(now) == 0 {
		delete(p.tally.conflicts, name)
		return
	}
	p.tally.conflicts[name] = now
}

// noteTransaction counts a transaction that was sent.
func (p *Proxy) noteTransaction(tx *nft.Transaction, result kernel.Result, err error) {
	m := p.instruments.Metrics
	switch {
	case errors.Is(err, kernel.ErrUncertain):
		m.Transaction(metrics.Uncertain, tx.ElementCount())
		return
	case err != nil:
		m.Transaction(metrics.Rejected, tx.ElementCount())
		return
	}
	m.Transaction(metrics.Committed, result.Operations)
	if tx.ReplacesTable() {
		clear(p.tally.elements)
	}
	for set, n := range tx.ElementChanges() {
		if set.Dynamic { // the keeper counts what packets change
			continue
		}
		p.tally.elements[set.Name] += n
		m.Elements(set.Name, p.tally.elements[set.Name])
	}
}

// countBindings is told how many bindings a map holds, on the keeper's goroutine.
func (p *Proxy) countBindings(set *nft.Set, n int) {
	family := metrics.IPv4
	if set.Key[0] == nft.IPv6Addr {
		family = metrics.IPv6
	}
	p.instruments.Metrics.AffinityBindings(family, n, int(set.Size))
}

// noteSynced tells of a step that succeeded.
func (p *Proxy) noteSynced(r *report) {
	i, now := &p.instruments, time.Now()
	i.Health.Synced(now)
	m := i.Metrics
	m.Sync(r.took)
	m.Synced(now)
	m.Ready(true)
	if r.read > 0 {
		m.Phase(metrics.Read, r.read)
	}
	m.Phase(metrics.Compute, r.compute)
	m.Phase(metrics.Commit, r.commit)
	for _, t := range p.tally.triggers {
		m.Programmed(t.family, now.Sub(t.at))
	}
	p.tally.triggers = p.tally.triggers[:0]
	conflicts := 0
	for _, list := range p.tally.conflicts {
		conflicts += len(list)
	}
	m.Conflicts(conflicts)
	ignored := 0
	for _, list := range p.tally.ignored {
		ignored += len(list)
	}
	m.ExternalIPsIgnored(ignored)
	for traffic, families := range p.tally.noLocals {
		for family, n := range families {
			m.NoLocalEndpoints(metrics.Traffic(traffic), metrics.IPFamily(family), n)
		}
	}
}

// noteHealthPorts takes over the health-check node ports of services that changed.
// It happens when the change is known, and does not wait for the kernel.
func (p *Proxy) noteHealthPorts(names []model.ServiceName) {
	var ports map[model.ServiceName]health.Service // a new map: the servers read the old one
	for _, name := range names {
		now := p.healthPort(name)
		if now == p.tally.ports[name] {
			continue
		}
		if ports == nil {
			ports = maps.Clone(p.tally.ports)
		}
		ports[name] = now
		if now.Port == 0 {
			delete(ports, name)
		}
	}
	if ports != nil {
		p.tally.ports = ports
		p.instruments.Ports.SetServices(ports)
	}
}

// healthPort is what a service's health-check node port answers.
func (p *Proxy) healthPort(name model.ServiceName) health.Service {
	svc := p.cluster.services[name]
	if svc == nil || svc.HealthCheckNodePort == 0 {
		return health.Service{}
	}
	return health.Service{
		Port:           svc.HealthCheckNodePort,
		LocalEndpoints: localEndpoints(p.cluster.byService[name], p.config.NodeName),
	}
}

// localEndpoints counts the Ready endpoints on the node by their distinct
// addresses. An endpoint of a dual-stack service has one in each family: the
// family that has more of them counts, since the sum would be no number of endpoints.
func localEndpoints(list []*model.EndpointSlice, node string) int {
	v4, v6 := map[netip.Addr]struct{}{}, map[netip.Addr]struct{}{}
	for _, s := range list {
		for i := range s.Endpoints {
			ep := &s.Endpoints[i]
			if ep.Node != node || !ep.State.Has(model.Ready) || ep.State.Has(model.Terminating) {
				continue
			}
			if ep.Addr.Is4() {
				v4[ep.Addr] = struct{}{}
			} else {
				v6[ep.Addr] = struct{}{}
			}
		}
	}
	return max(len(v4), len(v6))
}
