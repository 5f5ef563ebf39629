package convert

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// LabelServiceProxyName hands a Service to another proxy than the cluster's
// default one (KEP-2447, well-known labels).
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// Selectors for a watch on the API that passes what a proxy takes. They save
// traffic only: the converter decides by the same rules.
const (
	ServiceFieldSelector       = "spec.clusterIP!=" + corev1.ClusterIPNone
	EndpointSliceLabelSelector = "!" + corev1.IsHeadlessService
)

// intake decides which objects are this proxy's business.
type intake struct{ serviceProxyName string }

// ServiceLabelSelector selects the Services that are meant for this proxy.
func (in intake) ServiceLabelSelector() string {
	if in.serviceProxyName == "" {
		return "!" + LabelServiceProxyName
	}
	return LabelServiceProxyName + "=" + in.serviceProxyName
}

// TakesService reports whether the proxy serves o: it is meant for this proxy and
// has a cluster IP. A Service that was taken and no longer is counts as deleted.
func (in intake) TakesService(o *corev1.Service) bool {
	proxy, labelled := o.Labels[LabelServiceProxyName]
	if in.serviceProxyName == "" && labelled {
		return false
	}
	if in.serviceProxyName != "" && proxy != in.serviceProxyName {
		return false
	}
	if o.Spec.Type == corev1.ServiceTypeExternalName {
		return false
	}
	return o.Spec.ClusterIP != "" && o.Spec.ClusterIP != corev1.ClusterIPNone
}

// TakesEndpointSlice reports whether o holds addresses of a Service that a proxy
// can serve: slices of headless Services, of host names, and of no Service at all
// are left alone.
func (in intake) TakesEndpointSlice(o *discoveryv1.EndpointSlice) bool {
	_, headless := o.Labels[corev1.IsHeadlessService]
	return !headless && o.AddressType != discoveryv1.AddressTypeFQDN && o.Labels[discoveryv1.LabelServiceName] != ""
}
