package convert

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// The range of clientIP.timeoutSeconds, and what it is where a Service with
// affinity doesn't say (API reference, ClientIPConfig).
const (
	maxAffinity     = 24 * time.Hour
	defaultAffinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
)

// Service converts a Service. It returns nil for one that the proxy does not
// take: who had it before drops it.
//
// Defaults are those of the API server, so that objects that never passed one
// mean the same.
func (c *Converter) Service(o *corev1.Service) (*model.Service, []model.Problem) {
	if !c.TakesService(o) {
		return nil, nil
	}
	var p problems
	s := &model.Service{
		Name:        model.ServiceName{Namespace: c.names.share(o.Namespace), Name: o.Name},
		UID:         string(o.UID),
		Created:     o.CreationTimestamp.UTC(),
		ClusterIPs:  p.clusterIPs(&o.Spec),
		ExternalIPs: p.servingAddrs("spec.externalIPs", o.Spec.ExternalIPs),
		Affinity:    p.affinity(&o.Spec),
	}
	s.Ports = c.servicePorts(&p, &o.Spec)
	s.InternalPolicy, s.ExternalPolicy = p.trafficPolicies(&o.Spec)
	s.LoadBalancerIPs = p.loadBalancerIPs(o.Status.LoadBalancer.Ingress)
	p.restrict(s, o.Spec.LoadBalancerSourceRanges)
	if o.Spec.Type == corev1.ServiceTypeLoadBalancer && s.ExternalPolicy == model.PolicyLocal {
		s.HealthCheckNodePort = p.port("spec.healthCheckNodePort", o.Spec.HealthCheckNodePort, optional)
	}
	return s, p
}

// clusterIPs reads spec.clusterIPs, or the older field of its first entry alone.
func (p *problems) clusterIPs(spec *corev1.ServiceSpec) []netip.Addr {
	if len(spec.ClusterIPs) > 0 {
		return p.servingAddrs("spec.clusterIPs", spec.ClusterIPs)
	}
	a, err := parseServingAddr(spec.ClusterIP)
	if err != nil {
		p.add("spec.clusterIP", "%v", err)
		return nil
	}
	return []netip.Addr{a}
}

// loadBalancerIPs reads the addresses that a load balancer leaves in packets: in
// mode Proxy it puts the node's own address there (KEP-1860).
func (p *problems) loadBalancerIPs(ingress []corev1.LoadBalancerIngress) []netip.Addr {
	var addrs []netip.Addr
	for i := range ingress {
		const field = "status.loadBalancer.ingress"
		in := &ingress[i]
		if in.IP == "" {
			continue
		}
		if in.IPMode != nil && *in.IPMode != corev1.LoadBalancerIPModeVIP {
			if *in.IPMode != corev1.LoadBalancerIPModeProxy {
				p.add(item(field, i)+".ipMode", "%q is unknown: use VIP or Proxy", *in.IPMode)
			}
			continue
		}
		a, err := parseServingAddr(in.IP)
		if err != nil {
			p.add(item(field, i)+".ip", "%v", err)
			continue
		}
		addrs = appendNew(addrs, a)
	}
	return addrs
}

func (p *problems) trafficPolicies(spec *corev1.ServiceSpec) (internal, external model.TrafficPolicy) {
	if spec.InternalTrafficPolicy != nil {
		internal = p.trafficPolicy("spec.internalTrafficPolicy", string(*spec.InternalTrafficPolicy))
	}
	return internal, p.trafficPolicy("spec.externalTrafficPolicy", string(spec.ExternalTrafficPolicy))
}

func (p *problems) trafficPolicy(field, value string) model.TrafficPolicy {
	switch value {
	case "Local":
		return model.PolicyLocal
	case "", "Cluster":
	default:
		p.add(field, "%q is unknown, Cluster is assumed: use Cluster or Local", value)
	}
	return model.PolicyCluster
}

func (p *problems) affinity(spec *corev1.ServiceSpec) time.Duration {
	switch spec.SessionAffinity {
	case "", corev1.ServiceAffinityNone:
		return 0
	case corev1.ServiceAffinityClientIP:
	default:
		p.add("spec.sessionAffinity", "%q is unknown, None is assumed: use ClientIP or None", spec.SessionAffinity)
		return 0
	}
	config := spec.SessionAffinityConfig
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	t := time.Duration(*config.ClientIP.TimeoutSeconds) * time.Second
	if t <= 0 || t > maxAffinity {
		p.add("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "%d is out of range, %d is assumed: use 1 to %d",
			*config.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds, maxAffinity/time.Second)
		return defaultAffinity
	}
	return t
}
