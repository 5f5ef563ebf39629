package kubernetes

import (
	"context"
	"encoding/json"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isAbsent reports whether the API server says that it does not have the resource,
// after a request for it came to nothing. A plain "not found" can also come from
// something in between.
func isAbsent(ctx context.Context, r *resource) bool {
	var group metav1.APIResourceList
	err := discover(ctx, r, &group, "/apis", r.Group, r.Version)
	if apierrors.IsNotFound(err) {
		var all metav1.APIGroupList
		return discover(ctx, r, &all, "/apis") == nil && !slices.ContainsFunc(all.Groups, func(g metav1.APIGroup) bool {
			return slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool {
				return v.GroupVersion == r.GroupVersion().String()
			})
		})
	}
	return err == nil && group.Kind == "APIResourceList" &&
		!slices.ContainsFunc(group.APIResources, func(have metav1.APIResource) bool { return have.Name == r.Resource })
}

func discover(ctx context.Context, r *resource, into any, path ...string) error {
	raw, err := r.client.Get().AbsPath(path...).SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
