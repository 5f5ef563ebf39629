// Package v1alpha1 is the API of kube-vmap: ProxyConfig, which tunes running agents,
// and ProxyNode, in which each agent tells how it does.
//
// The comments of the types are the API's reference: they are in the definitions
// that the API server shows by kubectl explain, and in docs/configuration.md.
//
// +kubebuilder:object:generate=true
// +groupName=kube-vmap.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API's group and version.
var GroupVersion = schema.GroupVersion{Group: "kube-vmap.io", Version: "v1alpha1"}

// The kinds, and their resources.
const (
	KindProxyConfig = "ProxyConfig"
	KindProxyNode   = "ProxyNode"

	ProxyConfigs = "proxyconfigs"
	ProxyNodes   = "proxynodes"
)

// AddToScheme makes a scheme know the types.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &ProxyConfig{}, &ProxyConfigList{}, &ProxyNode{}, &ProxyNodeList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
