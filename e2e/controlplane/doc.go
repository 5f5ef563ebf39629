// Package controlplane runs a real Kubernetes control plane as child processes:
// etcd, kube-apiserver and kube-controller-manager, with TLS, RBAC, service
// account tokens and dual-stack service CIDRs. There is no scheduler and no
// kubelet: callers bind pods to nodes by spec.nodeName and patch their status.
//
//	cp, err := controlplane.Start(ctx, controlplane.Options{})  // or ForTest(t, options)
//	defer cp.Stop()
//	client, err := kubernetes.NewForConfig(cp.RESTConfig())     // as cluster administrator
//	err = cp.Kubeconfig("admin.conf")
//	token, err := cp.TokenFor(ctx, "kube-system", "kube-vmap")
//	err = cp.KubeconfigFor(ctx, "agent.conf", "kube-system", "kube-vmap")
//	err = cp.StopAPIServer(); err = cp.StartAPIServer(ctx)      // same address, same data
//
// # Where it listens
//
// The API server binds one address and port, on loopback or inside a network
// namespace; with a namespace, RESTConfig dials from inside it. etcd listens on
// a unix socket in the temporary directory, kube-controller-manager not at all,
// so that several control planes run side by side.
//
// # What runs
//
// Of kube-controller-manager the controllers that Services, pods and namespaces
// need. Node lifecycle is off: a Node stays as its creator wrote it, ready
// without heartbeats. etcd does not fsync. Nothing limits the rate of requests.
//
// # What is left behind
//
// Nothing: Stop kills the processes and removes their directory, and they die
// with the process that started them, also when it is killed. Only the logs stay
// when KeepLogs was called or Options.LogDir is set.
package controlplane
