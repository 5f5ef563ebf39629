package convert

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// EndpointSlice converts an EndpointSlice. It returns nil for one that the proxy
// does not take: who had it before drops it.
//
// A port without name or number is left out, as the API wants it of a consumer
// that must know both; of an endpoint's addresses the first counts (KEP-752).
func (c *Converter) EndpointSlice(o *discoveryv1.EndpointSlice) (*model.EndpointSlice, []model.Problem) {
	if !c.TakesEndpointSlice(o) {
		return nil, nil
	}
	var p problems
	namespace := c.names.share(o.Namespace)
	s := &model.EndpointSlice{
		Name:      model.SliceName{Namespace: namespace, Name: o.Name},
		Service:   model.ServiceName{Namespace: namespace, Name: o.Labels[discoveryv1.LabelServiceName]},
		Ports:     c.endpointPorts(&p, o.Ports),
		Triggered: triggered(o),
	}
	if o.AddressType != discoveryv1.AddressTypeIPv4 && o.AddressType != discoveryv1.AddressTypeIPv6 {
		p.add("addressType", "%q is unknown, the addresses are left out: use IPv4 or IPv6", o.AddressType)
		return s, p
	}
	s.Endpoints = c.endpoints(&p, o)
	return s, p
}

// triggered is when the change happened that o was last written for; it is unset
// if o doesn't say, or says what can't be read: it only serves measurements.
func triggered(o *discoveryv1.EndpointSlice) time.Time {
	t, err := time.Parse(time.RFC3339Nano, o.Annotations[corev1.EndpointsLastChangeTriggerTime])
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func (c *Converter) endpointPorts(p *problems, list []discoveryv1.EndpointPort) []model.EndpointPort {
	ports := make([]model.EndpointPort, 0, len(list))
	for i := range list {
		in, field := &list[i], item("ports", i)
		if in.Name == nil || in.Port == nil {
			continue
		}
		port := model.EndpointPort{Name: c.names.share(*in.Name), Protocol: model.TCP}
		if in.Protocol != nil {
			port.Protocol = p.protocol(field+".protocol", *in.Protocol)
		}
		port.Port = p.port(field+".port", *in.Port, required)
		if port.Protocol == 0 || port.Port == 0 {
			continue
		}
		if hasPort(ports, port) {
			p.add(field+".name", "%q is the name of an earlier %s port: give each port its own name", port.Name, port.Protocol)
			continue
		}
		ports = append(ports, port)
	}
	return ports
}

func hasPort(ports []model.EndpointPort, port model.EndpointPort) bool {
	for _, have := range ports {
		if have.Name == port.Name && have.Protocol == port.Protocol {
			return true
		}
	}
	return false
}

func (c *Converter) endpoints(p *problems, o *discoveryv1.EndpointSlice) []model.Endpoint {
	endpoints := make([]model.Endpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		in := &o.Endpoints[i]
		a, err := endpointAddr(in.Addresses, o.AddressType)
		if err != nil {
			p.add(item("endpoints", i)+".addresses[0]", "%v", err)
			continue
		}
		e := model.Endpoint{Addr: a, State: state(&in.Conditions), Hints: c.hints.share(in.Hints)}
		if in.NodeName != nil {
			e.Node = c.names.share(*in.NodeName)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

func endpointAddr(addrs []string, family discoveryv1.AddressType) (netip.Addr, error) {
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("there is no address: give one")
	}
	a, err := parseServingAddr(addrs[0])
	if err != nil {
		return a, err
	}
	if a.Is4() != (family == discoveryv1.AddressTypeIPv4) {
		return a, fmt.Errorf("%s is no %s address, as addressType says of this slice: move it to a slice of its own family", a, family)
	}
	return a, nil
}

// state applies the conditions' defaults: ready and serving unless it says no,
// terminating only if it says so (KEP-1672).
func state(c *discoveryv1.EndpointConditions) model.EndpointState {
	var s model.EndpointState
	if c.Ready == nil || *c.Ready {
		s |= model.Ready
	}
	if c.Serving == nil || *c.Serving {
		s |= model.Serving
	}
	if c.Terminating != nil && *c.Terminating {
		s |= model.Terminating
	}
	return s
}
