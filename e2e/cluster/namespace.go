package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CreateNamespace makes a Kubernetes namespace, PREFIX-xxxxx, that is ready for
// pods, and returns its name.
func (c *Cluster) CreateNamespace(ctx context.Context, prefix string) (string, error) {
	namespace, err := c.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create namespace %s: %w", prefix, err)
	}
	// Without this service account the API refuses pods.
	for {
		_, err := c.Client().CoreV1().ServiceAccounts(namespace.Name).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return namespace.Name, nil
		}
		if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("wait for the service account of namespace %s: %w", namespace.Name, err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the service account of namespace %s: %w", namespace.Name, ctx.Err())
		}
	}
}

// DeleteNamespace removes a namespace's pods and Services, so that their
// addresses are free, and then deletes the namespace; what else it holds goes in
// the background.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error {
	var errs []error
	for _, p := range c.podsIn(name) {
		errs = append(errs, p.Remove(ctx))
	}
	errs = append(errs,
		c.deleteServices(ctx, name),
		c.Client().CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

func (c *Cluster) deleteServices(ctx context.Context, namespace string) error {
	services := c.Client().CoreV1().Services(namespace)
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list.Items {
		errs = append(errs, services.Delete(ctx, s.Name, metav1.DeleteOptions{}))
	}
	return errors.Join(errs...)
}

func (c *Cluster) podsIn(namespace string) (pods []*Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if p.spec.Namespace == namespace {
			pods = append(pods, p)
		}
	}
	return pods
}
