package cluster

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeconfigOf makes the service account of an agent, with its rights, and
// returns a kubeconfig file that has its token. What exists is kept.
func (c *Cluster) kubeconfigOf(ctx context.Context, agent *Agent) (string, error) {
	if err := c.grant(ctx, agent); err != nil {
		return "", fmt.Errorf("grant %s its rights: %w", agent.Name, err)
	}
	path := filepath.Join(c.dir, agent.ServiceAccount+".conf")
	return path, c.ControlPlane.KubeconfigFor(ctx, path, agent.Namespace, agent.ServiceAccount)
}

func (c *Cluster) grant(ctx context.Context, agent *Agent) error {
	if agent.rules == nil {
		return nil
	}
	meta := metav1.ObjectMeta{Name: agent.ServiceAccount}
	rbac := c.Client().RbacV1()
	_, err := c.Client().CoreV1().ServiceAccounts(agent.Namespace).
		Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: agent.rules}
	if _, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: agent.ServiceAccount},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: agent.Namespace, Name: agent.ServiceAccount,
		}},
	}
	if _, err := rbac.ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}
