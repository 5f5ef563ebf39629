package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"k8s.io/client-go/kubernetes"
)

// Options says where a control plane runs. The zero value is one on loopback.
type Options struct {
	// Binaries is the directory of etcd, kube-apiserver and
	// kube-controller-manager. If empty, each is taken from $KUBEBUILDER_ASSETS, or
	// else from bin/ of the repository, where e2e/binaries/build.sh puts them.
	Binaries string
	// Address is what the API server binds and tells its clients, of the family of
	// the first of ServiceCIDRs; if it is not set, the loopback address. On loopback
	// the Service default/kubernetes has no endpoints: the API refuses such ones.
	Address netip.Addr
	// Namespace is a descriptor of the network namespace that has Address. It must
	// stay open until Stop. Zero means the caller's own namespace.
	Namespace int
	// ServiceCIDRs are one prefix or one per family, the first being the default
	// family of Services; 10.96.0.0/16 and fd00:10:96::/112 if empty.
	ServiceCIDRs []netip.Prefix
	// LogDir gets a log file per process and stays. If empty, logs are written to
	// a temporary directory that goes with Stop.
	LogDir string
}

func (o *Options) setDefaults() {
	if len(o.ServiceCIDRs) == 0 {
		o.ServiceCIDRs = []netip.Prefix{
			netip.MustParsePrefix("10.96.0.0/16"),
			netip.MustParsePrefix("fd00:10:96::/112"),
		}
	}
	if !o.Address.IsValid() {
		o.Address = netip.IPv6Loopback()
		if o.ServiceCIDRs[0].Addr().Is4() {
			o.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
}

// ControlPlane is a running control plane. Its methods are not for concurrent
// use, except those that only read: RESTConfig, Server, and the tokens and
// kubeconfigs.
type ControlPlane struct {
	options  Options
	dir      string // state, keys and sockets; removed by Stop
	logDir   string
	keepLogs atomic.Bool

	keys   *keys
	server netip.AddrPort
	port   *os.File // holds the port while the API server does not; see reservePort
	client kubernetes.Interface

	etcd, apiServer, controllerManager *process
}

// Start runs a control plane and returns when it is ready for pods and Services.
// The context bounds the start only. On an error nothing runs, and the error ends
// with the last lines of the log of the process that failed.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	options.setDefaults()
	cp := &ControlPlane{options: options, logDir: options.LogDir}
	if err := cp.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start control plane: %w", err), cp.Stop())
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	if err := cp.makeDirs(); err != nil {
		return err
	}
	if err := cp.reservePort(); err != nil {
		return err
	}
	var err error
	if cp.keys, err = makeKeys(cp.dir, cp.options); err != nil {
		return err
	}
	if err := cp.Kubeconfig(cp.path("admin.conf")); err != nil {
		return err
	}
	if cp.client, err = kubernetes.NewForConfig(cp.RESTConfig()); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if cp.etcd, err = cp.run("etcd", cp.etcdArgs()); err != nil {
		return err
	}
	if err := cp.StartAPIServer(ctx); err != nil {
		return err
	}
	if cp.controllerManager, err = cp.run("kube-controller-manager", cp.controllerManagerArgs()); err != nil {
		return err
	}
	return cp.waitForDefaults(ctx)
}

func (cp *ControlPlane) makeDirs() (err error) {
	if cp.dir, err = os.MkdirTemp("", "control-plane-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if cp.options.LogDir == "" {
		cp.logDir, err = os.MkdirTemp("", "control-plane-logs-")
	} else {
		err = os.MkdirAll(cp.logDir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	return nil
}

// Server is the URL of the API server.
func (cp *ControlPlane) Server() string { return "https://" + cp.server.String() }

// Etcd is the URL of etcd, a socket without TLS.
func (cp *ControlPlane) Etcd() string { return cp.etcdURL() }

// Client is a client with the rights of a cluster administrator.
func (cp *ControlPlane) Client() kubernetes.Interface { return cp.client }

// KeepLogs makes the logs outlive Stop, and returns their directory.
func (cp *ControlPlane) KeepLogs() string {
	cp.keepLogs.Store(true)
	return cp.logDir
}

// Stop kills all processes, waits for their end and removes what they wrote.
// It may be called again.
func (cp *ControlPlane) Stop() error {
	var errs []error
	for _, p := range []*process{cp.controllerManager, cp.apiServer, cp.etcd} {
		errs = append(errs, p.kill())
	}
	if cp.port != nil {
		errs = append(errs, cp.port.Close())
		cp.port = nil
	}
	errs = append(errs, os.RemoveAll(cp.dir))
	if cp.options.LogDir == "" && !cp.keepLogs.Load() {
		errs = append(errs, os.RemoveAll(cp.logDir))
	}
	return errors.Join(errs...)
}

func (cp *ControlPlane) path(name string) string { return filepath.Join(cp.dir, name) }
