package model

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Protocol is a transport protocol by its IANA number.
type Protocol uint8

// The protocols that Services know.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String is the protocol as the API spells it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return strconv.Itoa(int(p))
}

// ParseProtocol reads a protocol as the API spells it; the empty string is TCP.
func ParseProtocol(s string) (Protocol, bool) {
	switch s {
	case "", "TCP":
		return TCP, true
	case "UDP":
		return UDP, true
	case "SCTP":
		return SCTP, true
	}
	return 0, false
}

// ServiceName names a Service.
type ServiceName struct{ Namespace, Name string }

func (n ServiceName) String() string { return n.Namespace + "/" + n.Name }

// Compare orders names by namespace, then by name.
func (n ServiceName) Compare(o ServiceName) int {
	if c := strings.Compare(n.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(n.Name, o.Name)
}

// ServicePortName names one port of a Service. Port is empty where the Service
// has one unnamed port.
type ServicePortName struct {
	Service  ServiceName
	Port     string
	Protocol Protocol
}

// String is "namespace/name:port", or "namespace/name" for an unnamed port.
func (n ServicePortName) String() string {
	if n.Port == "" {
		return n.Service.String()
	}
	return n.Service.String() + ":" + n.Port
}

// TrafficPolicy says which endpoints serve: those of the cluster or those of this node.
type TrafficPolicy uint8

// The traffic policies, for internal and for external traffic (KEP-2086, KEP-1669).
const (
	PolicyCluster TrafficPolicy = iota
	PolicyLocal
)

func (p TrafficPolicy) String() string {
	if p == PolicyLocal {
		return "Local"
	}
	return "Cluster"
}

// Service is what a proxy needs of a Service object that has a cluster IP.
type Service struct {
	Name    ServiceName
	UID     string
	Created time.Time // with UID the seniority of the Service where two claim one frontend

	Ports           []ServicePort
	ClusterIPs      []netip.Addr
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr // of status.loadBalancer with ipMode VIP or none

	InternalPolicy TrafficPolicy
	ExternalPolicy TrafficPolicy

	// HealthCheckNodePort answers load balancers; 0 is none.
	HealthCheckNodePort uint16

	// Affinity is how long a client keeps its backend after its last new
	// connection (sessionAffinity: ClientIP); 0 is no affinity. 1 s to 24 h.
	Affinity time.Duration

	// SourceRanges are the clients that may use LoadBalancerIPs; empty is all.
	SourceRanges []netip.Prefix
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name     string
	Protocol Protocol
	Port     uint16
	NodePort uint16 // 0 is none
}

// PortName names one of the Service's ports.
func (s *Service) PortName(p *ServicePort) ServicePortName {
	return ServicePortName{Service: s.Name, Port: p.Name, Protocol: p.Protocol}
}

// Older reports whether s was there before o: the older of two Services that
// claim one frontend has it.
func (s *Service) Older(o *Service) bool {
	if !s.Created.Equal(o.Created) {
		return s.Created.Before(o.Created)
	}
	if s.UID != o.UID {
		return s.UID < o.UID
	}
	return s.Name.Compare(o.Name) < 0
}
