package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Polling costs little: requests to loopback.
const pollInterval = 20 * time.Millisecond

// StartAPIServer starts the API server at the address and port that it had
// before, and returns when it is ready.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) (err error) {
	if cp.apiServer != nil {
		return errors.New("start kube-apiserver: it runs: stop it first")
	}
	if cp.apiServer, err = cp.run("kube-apiserver", cp.apiServerArgs()); err != nil {
		return err
	}
	return cp.poll(ctx, "kube-apiserver is ready", func(ctx context.Context) error {
		return cp.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// StopAPIServer ends the API server: clients see their watches end and further
// connections refused. All data stays.
func (cp *ControlPlane) StopAPIServer() error {
	if cp.apiServer == nil {
		return errors.New("stop kube-apiserver: it does not run")
	}
	const patience = time.Second // it would wait a minute for watches to end
	err := cp.apiServer.terminate(patience)
	cp.apiServer = nil
	return err
}

// waitForDefaults waits for what pods and Services of the default namespace need:
// the controllers make it after the API server is ready.
func (cp *ControlPlane) waitForDefaults(ctx context.Context) error {
	core := cp.client.CoreV1()
	return cp.poll(ctx, "the default namespace is filled", func(ctx context.Context) error {
		_, err := core.Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, err = core.ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err = core.ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err
	})
}

// poll repeats a check until it succeeds. It gives up when the context ends or a
// process has.
func (cp *ControlPlane) poll(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, p := range []*process{cp.etcd, cp.apiServer, cp.controllerManager} {
			if p.ended() {
				return fmt.Errorf("wait until %s: %w", what, p.failure())
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: last: %w", what, ctx.Err(), err)
		}
	}
}
