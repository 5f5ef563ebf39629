// Package health answers the HTTP questions of kubelets, load balancers and
// operators: is the proxy alive, is it ready, has this node endpoints of a
// Service, what has been measured.
//
//	:10256            /healthz, /livez, /readyz                    for probes and load balancers
//	127.0.0.1:10249   /metrics, /healthz, /proxyMode, /configz ... for operators
//	node address:port any path, per Service                        spec.healthCheckNodePort
//
// None of them waits for the loop or for the kernel: the loop writes to State and
// to Servers, whose methods return at once, and handlers read what was last
// written. A loop that hangs is thereby seen: changes queue, nothing is synced,
// and after State's timeout the proxy calls itself unhealthy.
//
// An address that can't be bound is reported and tried again until it can.
package health
