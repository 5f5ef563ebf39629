package proxy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/health"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// EventKind is the type of a Kubernetes event.
type EventKind string

// The kinds of events.
const (
	Normal  EventKind = "Normal"
	Warning EventKind = "Warning"
)

// Reasons of events.
const (
	reasonQuarantined  = "Quarantined"          // a field can't be used
	reasonRefused      = "RefusedByKernel"      // the kernel does not take the service
	reasonConflict     = "FrontendConflict"     // an older service has the frontend
	reasonExternalIP   = "ExternalIPNotAllowed" // the node's policy excludes it
	reasonUnfiltered   = "SourceRangesOfOtherFamily"
	reasonForeign      = "ForeignChange" // another process changed the table
	reasonStarted      = "Started"
	reasonHealthPort   = "FailedToStartServiceHealthcheck"
	reasonListenFailed = "FailedToListen"
)

// Recorder tells people of events on objects. Its methods return at once and may
// be called from any goroutine.
type Recorder interface {
	// Event records that something happened to, or because of, the object. The
	// message is a sentence without a full stop.
	Event(object model.ObjectRef, kind EventKind, reason, message string)
}

// noEvents is a Recorder where there is no API.
type noEvents struct{}

func (noEvents) Event(model.ObjectRef, EventKind, string, string) {}

func serviceRef(name model.ServiceName) model.ObjectRef {
	return model.ObjectRef{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
}

// record records an event in the loop's goroutine, with the UID of a Service, by
// which kubectl finds the Service's events.
func (p *Proxy) record(object model.ObjectRef, kind EventKind, reason, message string) {
	if svc := p.cluster.services[model.ServiceName{Namespace: object.Namespace, Name: object.Name}]; svc != nil && object.Kind == "Service" {
		object.UID = svc.UID
	}
	p.instruments.Events.Event(object, kind, reason, message)
}

// nodeRef is this node, on which events about the proxy itself are recorded.
func (p *Proxy) nodeRef() model.ObjectRef {
	return model.ObjectRef{Kind: "Node", Name: p.node}
}

// BindFailed records that an address could not be bound: on the Service whose
// health-check node port it is, else on the node. It may be called from any
// goroutine.
func (p *Proxy) BindFailed(e *health.BindError) {
	if e.Service != (model.ServiceName{}) {
		p.instruments.Events.Event(serviceRef(e.Service), Warning, reasonHealthPort, e.Error())
		return
	}
	p.instruments.Events.Event(p.nodeRef(), Warning, reasonListenFailed, e.Error())
}

// noteUnfiltered warns of load-balancer addresses that are open to all, although
// the Service has source ranges: those of the other family.
func (p *Proxy) noteUnfiltered(svc *model.Service) {
	if len(svc.SourceRanges) == 0 {
		return
	}
	for _, ip := range svc.LoadBalancerIPs {
		filtered := slices.ContainsFunc(svc.SourceRanges, func(r netip.Prefix) bool { return r.Addr().Is4() == ip.Is4() })
		if !filtered {
			p.record(serviceRef(svc.Name), Warning, reasonUnfiltered, fmt.Sprintf(
				"%s is open to everyone: spec.loadBalancerSourceRanges has no range of its family; add one", ip))
		}
	}
}
