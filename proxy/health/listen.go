package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// ListenFunc opens a listener on "tcp", "tcp4" or "tcp6" and host:port, as
// net.Listen does.
type ListenFunc func(network, address string) (net.Listener, error)

// Listen is the ListenFunc of the host.
func Listen(network, address string) (net.Listener, error) {
	return listen(net.ListenConfig{}, network, address)
}

// ListenFree is Listen for addresses that may come later (ip(7), IP_FREEBIND). A
// node may learn of its addresses before they are there, and an IPv6 address can't
// be bound otherwise for a second or two while the kernel looks for its duplicates
// (RFC 4862, section 5.4).
func ListenFree(network, address string) (net.Listener, error) {
	return listen(net.ListenConfig{Control: freeBind}, network, address)
}

func listen(config net.ListenConfig, network, address string) (net.Listener, error) {
	config.SetMultipathTCP(false) // of no use here, and not in every kernel
	return config.Listen(context.Background(), network, address)
}

// freeBind implements net.ListenConfig.Control.
func freeBind(network, _ string, c syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_FREEBIND
	if strings.HasSuffix(network, "6") {
		level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	var set error
	control := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(control, set)
}

// BindError is an address that can't be bound now. It is tried again.
type BindError struct {
	Server  string            // "healthz", "metrics" or "healthCheckNodePort"
	Service model.ServiceName // of a healthCheckNodePort, else empty
	Address string            // host:port
	Err     error
}

// Unwrap returns the cause: errors.Is(err, unix.EADDRINUSE) works.
func (e *BindError) Unwrap() error { return e.Err }

func (e *BindError) Error() string {
	what := "serve " + e.Server + " on " + e.Address
	if e.Service != (model.ServiceName{}) {
		what = fmt.Sprintf("serve health checks of Service %s on %s", e.Service, e.Address)
	}
	return fmt.Sprintf("%s: %v%s", what, e.Err, e.hint())
}

// hint says what to do.
func (e *BindError) hint() string {
	switch {
	case !errors.Is(e.Err, unix.EADDRINUSE):
		return ""
	case e.Service != (model.ServiceName{}):
		return " (end the program that listens there: ss -ltnp; or give the Service another spec.healthCheckNodePort)"
	default:
		return " (end the program that listens there: ss -ltnp; or configure another address)"
	}
}
