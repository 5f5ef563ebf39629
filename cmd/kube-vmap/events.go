package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// recorder records events through the API. It queues, merges repeated events and
// drops what comes too fast, so it never holds up the proxy.
type recorder struct {
	events record.EventRecorder
	stop   func()
}

func newRecorder(client kubernetes.Interface, node string) *recorder {
	scheme := runtime.NewScheme()
	_ = corev1.AddToScheme(scheme) // fails on a programming error only
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return &recorder{
		events: broadcaster.NewRecorder(scheme, corev1.EventSource{Component: "kube-vmap", Host: node}),
		stop:   broadcaster.Shutdown,
	}
}

// Event implements proxy.Recorder.
func (r *recorder) Event(object model.ObjectRef, kind proxy.EventKind, reason, message string) {
	const longest = 1024 // bytes of an event's message that the API takes
	if len(message) > longest {
		message = message[:longest-3] + "..."
	}
	r.events.Event(reference(object), string(kind), reason, message)
}

func reference(o model.ObjectRef) *corev1.ObjectReference {
	ref := &corev1.ObjectReference{
		Kind: o.Kind, APIVersion: "v1", Namespace: o.Namespace, Name: o.Name, UID: types.UID(o.UID),
	}
	switch o.Kind {
	case "EndpointSlice":
		ref.APIVersion = "discovery.k8s.io/v1"
	case "ServiceCIDR":
		ref.APIVersion = "networking.k8s.io/v1"
	case v1alpha1.KindProxyConfig:
		ref.APIVersion = v1alpha1.GroupVersion.String()
	case "Node":
		ref.UID = types.UID(o.Name) // as the kubelet does: kubectl describe looks for that
	}
	return ref
}
