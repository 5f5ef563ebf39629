package convert

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// TaintToBeDeleted is the cluster autoscaler's mark of a node that it removes
// (KEP-3836).
const TaintToBeDeleted = "ToBeDeletedByClusterAutoscaler"

// Node converts the proxy's own Node.
func (c *Converter) Node(o *corev1.Node) (*model.Node, []model.Problem) {
	var p problems
	return &model.Node{
		Name:        o.Name,
		UID:         string(o.UID),
		Labels:      o.Labels,
		Zone:        o.Labels[corev1.LabelTopologyZone],
		InternalIPs: p.internalIPs(o.Status.Addresses),
		PodCIDRs:    p.podCIDRs(&o.Spec),
		Leaving:     isLeaving(o),
	}, p
}

func (p *problems) internalIPs(list []corev1.NodeAddress) []netip.Addr {
	var addrs []netip.Addr
	for i := range list {
		if list[i].Type != corev1.NodeInternalIP {
			continue
		}
		a, err := parseServingAddr(list[i].Address)
		if err != nil {
			p.add(item("status.addresses", i)+".address", "%v", err)
			continue
		}
		addrs = appendNew(addrs, a)
	}
	return addrs
}

// podCIDRs reads spec.podCIDRs, or the older field of its first entry alone.
func (p *problems) podCIDRs(spec *corev1.NodeSpec) []netip.Prefix {
	if len(spec.PodCIDRs) > 0 || spec.PodCIDR == "" {
		return p.prefixes("spec.podCIDRs", spec.PodCIDRs)
	}
	r, err := parsePrefix(spec.PodCIDR)
	if err != nil {
		p.add("spec.podCIDR", "%v", err)
		return nil
	}
	return []netip.Prefix{r}
}

func isLeaving(o *corev1.Node) bool {
	if o.DeletionTimestamp != nil {
		return true
	}
	for i := range o.Spec.Taints {
		if o.Spec.Taints[i].Key == TaintToBeDeleted {
			return true
		}
	}
	return false
}

// ServiceCIDR converts one ServiceCIDR to its ranges. The cluster's are those of
// all its objects.
func (c *Converter) ServiceCIDR(o *networkingv1.ServiceCIDR) ([]netip.Prefix, []model.Problem) {
	var p problems
	return p.prefixes("spec.cidrs", o.Spec.CIDRs), p
}
