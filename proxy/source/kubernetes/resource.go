package kubernetes

import (
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// resource is one kind of objects to watch.
type resource struct {
	schema.GroupVersionResource
	object        runtime.Object // an example
	labelSelector string
	fieldSelector string
	client        rest.Interface

	// optional resources are waited for if they are there and may be read.
	optional bool
}

func resources(config *rest.Config, opts Options) ([]*resource, error) {
	takes := convert.New(opts.ServiceProxyName)
	list := []*resource{{
		GroupVersionResource: corev1.SchemeGroupVersion.WithResource("services"),
		object:               &corev1.Service{},
		labelSelector:        takes.ServiceLabelSelector(),
		fieldSelector:        convert.ServiceFieldSelector,
	}, {
		GroupVersionResource: discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
		object:               &discoveryv1.EndpointSlice{},
		labelSelector:        convert.EndpointSliceLabelSelector,
	}, {
		GroupVersionResource: corev1.SchemeGroupVersion.WithResource("nodes"),
		object:               &corev1.Node{},
		fieldSelector:        fields.OneTermEqualSelector("metadata.name", opts.NodeName).String(),
	}, {
		GroupVersionResource: networkingv1.SchemeGroupVersion.WithResource("servicecidrs"),
		object:               &networkingv1.ServiceCIDR{},
		optional:             true,
	}}
	connection, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.client, err = client(config, r.GroupVersion(), connection); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// codecs know the groups that a proxy reads, and no others: a client for all of
// the API weighs tens of megabytes.
var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(discoveryv1.AddToScheme(scheme))
	utilruntime.Must(networkingv1.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme)
}()

// client is a client for one group, which asks for protobuf: decoding it costs a
// fraction of JSON.
func client(config *rest.Config, group schema.GroupVersion, connection *http.Client) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &group
	config.APIPath = "/apis"
	if group.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = codecs.WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return rest.RESTClientForConfigAndClient(config, connection)
}
