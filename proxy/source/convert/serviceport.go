package convert

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// presence says whether a port number may be left out, which is 0.
type presence bool

const (
	required presence = false
	optional presence = true
)

// port reads a port number, 1 to 65535. It returns 0 for one that is left out or
// out of range.
func (p *problems) port(field string, n int32, may presence) uint16 {
	if n == 0 && may == optional {
		return 0
	}
	if n < 1 || n > 65535 {
		p.add(field, "%d is not a port number: use 1 to 65535", n)
		return 0
	}
	return uint16(n)
}

// protocol reads a protocol; it returns 0 for one that is unknown.
func (p *problems) protocol(field string, s corev1.Protocol) model.Protocol {
	protocol, known := model.ParseProtocol(string(s))
	if !known {
		p.add(field, "%q is unknown: use TCP, UDP or SCTP", s)
	}
	return protocol
}

// servicePorts reads the ports. Where two have the same name, number or node port
// for one protocol, the first has it.
func (c *Converter) servicePorts(p *problems, spec *corev1.ServiceSpec) []model.ServicePort {
	ports := make([]model.ServicePort, 0, len(spec.Ports))
	for i := range spec.Ports {
		in, field := &spec.Ports[i], item("spec.ports", i)
		port := model.ServicePort{
			Name:     c.names.share(in.Name),
			Protocol: p.protocol(field+".protocol", in.Protocol),
			Port:     p.port(field+".port", in.Port, required),
			NodePort: p.nodePort(field+".nodePort", spec.Type, in.NodePort),
		}
		if port.Protocol != 0 && port.Port != 0 && p.distinct(field, &port, ports) {
			ports = append(ports, port)
		}
	}
	return ports
}

func (p *problems) nodePort(field string, t corev1.ServiceType, n int32) uint16 {
	if n != 0 && t != corev1.ServiceTypeNodePort && t != corev1.ServiceTypeLoadBalancer {
		p.add(field, "%d stays closed, the Service's type is %s: set spec.type to NodePort or LoadBalancer", n, orClusterIP(t))
		return 0
	}
	return p.port(field, n, optional)
}

func orClusterIP(t corev1.ServiceType) corev1.ServiceType {
	if t == "" {
		return corev1.ServiceTypeClusterIP
	}
	return t
}

// distinct reports whether port can stand beside those before it. A node port that
// one of them has already is taken from it.
func (p *problems) distinct(field string, port *model.ServicePort, before []model.ServicePort) bool {
	for i := range before {
		b := &before[i]
		if b.Protocol != port.Protocol {
			continue
		}
		if b.Name == port.Name {
			p.add(field+".name", "%q is the name of an earlier %s port: give each port its own name", port.Name, port.Protocol)
			return false
		}
		if b.Port == port.Port {
			p.add(field+".port", "%d/%s is port %q already: remove one of them", port.Port, port.Protocol, b.Name)
			return false
		}
		if b.NodePort == port.NodePort && port.NodePort != 0 {
			p.add(field+".nodePort", "%d/%s is the node port of port %q already: use another", port.NodePort, port.Protocol, b.Name)
			port.NodePort = 0
		}
	}
	return true
}
