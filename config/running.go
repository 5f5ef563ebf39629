package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/conntrack"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Running is the whole configuration of a running agent. Flags make the first one;
// objects override it. Whether the table is owned follows from Ownership and the
// kernel, so Proxy.Own means nothing here.
type Running struct {
	Proxy            proxy.Config
	Ownership        v1alpha1.TableOwnership
	Sysctls          conntrack.Sysctls
	ServiceProxyName string
	Verbosity        int
}

// With is the configuration with the fields that the settings have. They must be
// valid.
func (r Running) With(s *v1alpha1.Settings) Running {
	r.proxy(s)
	if s.DetectLocal != nil {
		r.detectLocal(s.DetectLocal)
	}
	if s.Conntrack != nil {
		r.conntrack(s.Conntrack)
	}
	if s.Repair != nil {
		r.repair(s.Repair)
	}
	if s.Logging != nil && s.Logging.Verbosity != nil {
		r.Verbosity = int(*s.Logging.Verbosity)
	}
	set(&r.Ownership, s.TableOwnership)
	set(&r.ServiceProxyName, s.ServiceProxyName)
	return r
}

func (r *Running) proxy(s *v1alpha1.Settings) {
	c := &r.Proxy
	if s.NodePortAddresses != nil {
		c.NodePortAddresses = proxy.NodePortAddresses{}
		for _, text := range s.NodePortAddresses {
			if p, err := parsePrefix(text); err == nil {
				c.NodePortAddresses.CIDRs = append(c.NodePortAddresses.CIDRs, p)
			} else {
				c.NodePortAddresses.Primary = true
			}
		}
	}
	if s.ExternalIPs != nil {
		c.ExternalIPs, _ = ruleset.ParseExternalIPs(s.ExternalIPs) // they are valid
	}
	set(&c.MasqueradeAll, s.MasqueradeAll)
	if s.MasqueradeBit != nil {
		c.MasqueradeMark = 1 << *s.MasqueradeBit
	}
	if s.Coalesce != nil {
		c.Coalesce = timeOf(*s.Coalesce)
	}
	if s.SessionAffinity != nil && s.SessionAffinity.MaxBindings != nil {
		c.AffinitySize = uint32(*s.SessionAffinity.MaxBindings)
	}
	if s.Counters != nil {
		c.Counters = counters[*s.Counters]
	}
}

func (r *Running) detectLocal(d *v1alpha1.DetectLocal) {
	c := &r.Proxy
	c.DetectLocal = proxy.DetectLocalMode(d.Mode)
	c.PodInterface = d.BridgeInterface + d.InterfaceNamePrefix // one of the two
	c.ClusterCIDRs = nil
	for _, text := range d.ClusterCIDRs {
		if p, err := parsePrefix(text); err == nil {
			c.ClusterCIDRs = append(c.ClusterCIDRs, p)
		}
	}
}

func (r *Running) conntrack(c *v1alpha1.Conntrack) {
	s := &r.Sysctls
	set(&s.MaxPerCore, c.MaxPerCore)
	set(&s.Min, c.Min)
	set(&s.TCPBeLiberal, c.TCPBeLiberal)
	if c.TCPEstablishedTimeout != nil {
		s.TCPEstablishedTimeout = timeOf(*c.TCPEstablishedTimeout)
	}
	if c.TCPCloseWaitTimeout != nil {
		s.TCPCloseWaitTimeout = timeOf(*c.TCPCloseWaitTimeout)
	}
	if c.UDPTimeout != nil {
		s.UDPTimeout = timeOf(*c.UDPTimeout)
	}
	if c.UDPStreamTimeout != nil {
		s.UDPStreamTimeout = timeOf(*c.UDPStreamTimeout)
	}
}

func (r *Running) repair(s *v1alpha1.Repair) {
	if s.Mode != nil {
		r.Proxy.Repair = proxy.RepairMode(*s.Mode)
	}
	if s.MaxDelay != nil {
		r.Proxy.RepairDelay = timeOf(*s.MaxDelay)
	}
}

// Hash tells configurations apart: nodes with the same one are configured alike. 10
// hexadecimal digits.
func (r Running) Hash() string {
	r.Proxy.NodeName, r.Proxy.Own = "", false
	r.Proxy.IPv4, r.Proxy.IPv6 = false, false // the node's, and not configured
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:5])
}

// Differences lists the fields that two configurations differ in, for people.
func (r Running) Differences(from Running) string {
	var list []string
	differ := func(name string, is, was any) {
		if a, b := fmt.Sprint(is), fmt.Sprint(was); a != b {
			list = append(list, fmt.Sprintf("%s: %s -> %s", name, b, a))
		}
	}
	p, q := &r.Proxy, &from.Proxy
	differ("nodePortAddresses", nodePortText(p), nodePortText(q))
	differ("detectLocal", detectText(p), detectText(q))
	differ("masqueradeAll", p.MasqueradeAll, q.MasqueradeAll)
	differ("masqueradeMark", fmt.Sprintf("0x%x", p.MasqueradeMark), fmt.Sprintf("0x%x", q.MasqueradeMark))
	differ("coalesce", p.Coalesce, q.Coalesce)
	differ("sessionAffinity.maxBindings", p.AffinitySize, q.AffinitySize)
	s, t := &r.Sysctls, &from.Sysctls
	differ("conntrack.maxPerCore", s.MaxPerCore, t.MaxPerCore)
	differ("conntrack.min", s.Min, t.Min)
	differ("conntrack.tcpEstablishedTimeout", s.TCPEstablishedTimeout, t.TCPEstablishedTimeout)
	differ("conntrack.tcpCloseWaitTimeout", s.TCPCloseWaitTimeout, t.TCPCloseWaitTimeout)
	differ("conntrack.tcpBeLiberal", s.TCPBeLiberal, t.TCPBeLiberal)
	differ("conntrack.udpTimeout", s.UDPTimeout, t.UDPTimeout)
	differ("conntrack.udpStreamTimeout", s.UDPStreamTimeout, t.UDPStreamTimeout)
	differ("counters", p.Counters, q.Counters)
	differ("tableOwnership", r.Ownership, from.Ownership)
	differ("repair", fmt.Sprint(p.Repair, " within ", p.RepairDelay), fmt.Sprint(q.Repair, " within ", q.RepairDelay))
	differ("externalIPs", p.ExternalIPs, q.ExternalIPs)
	differ("logging.verbosity", r.Verbosity, from.Verbosity)
	differ("serviceProxyName", strconv.Quote(r.ServiceProxyName), strconv.Quote(from.ServiceProxyName))
	return strings.Join(list, ", ")
}

func nodePortText(c *proxy.Config) string {
	if c.NodePortAddresses.Primary {
		return "primary"
	}
	return fmt.Sprint(c.NodePortAddresses.CIDRs)
}

func detectText(c *proxy.Config) string {
	return fmt.Sprint(c.DetectLocal, " ", c.ClusterCIDRs, c.PodInterface)
}

func set[T any](into *T, from *T) {
	if from != nil {
		*into = *from
	}
}

// counters are the ruleset's words for the levels.
var counters = map[v1alpha1.CountersLevel]ruleset.Counters{
	v1alpha1.CountersNone:      ruleset.CountNothing,
	v1alpha1.CountersServices:  ruleset.CountServices,
	v1alpha1.CountersEndpoints: ruleset.CountEndpoints,
}
