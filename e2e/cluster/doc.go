// Package cluster is a Kubernetes cluster on one machine, for tests: a real
// control plane (package controlplane), nodes, pods and clients as network
// namespaces (package testnet), and on each node a real agent, kube-vmap or
// kube-proxy, that programs the node's namespace.
//
//	c, err := cluster.Start(ctx, cluster.Options{Agent: cluster.KubeVmap()})   // or ForTest(t, options)
//	defer c.Close()
//	ns, err := c.CreateNamespace(ctx, "clusterip")
//	pod, err := c.RunPod(ctx, cluster.PodSpec{Namespace: ns, Name: "web-1", Node: "node-a", Labels: ...})
//	service, err := c.Client().CoreV1().Services(ns).Create(ctx, ...)
//	outcome := c.Lab.Host("client").Probe(testnet.TCP, addrPort)               // also pod.Host, c.Node("node-a").Host
//	err = c.DeleteNamespace(ctx, ns)
//
// # The network
//
//	node-a         192.0.2.10     2001:db8:2::10    pods 10.244.0.0/24  fd00:10:244::/64    zone-a, routed veth pairs
//	node-b         192.0.2.20     2001:db8:2::20    pods 10.244.1.0/24  fd00:10:244:1::/64  zone-b, bridge cni0
//	control-plane  192.0.2.5      2001:db8:2::5     the API server
//	client         198.51.100.10  2001:db8:100::10  behind the router 192.0.2.1, 2001:db8:2::1
//
// Services have ClusterIPs of 10.96.0.0/16 and fd00:10:96::/112.
//
// # Pods
//
// RunPod is scheduler, kubelet and container in one: it makes the namespace, the
// servers of the pod's ports, and the Pod object, bound to its node and reported
// as running. A server's name is the pod's. Then
//
//	pod.SetReady(ctx, false)    // the readiness probe fails
//	pod.Terminate(ctx)          // deleted, with grace: it goes on serving
//	pod.Remove(ctx)             // gone
//
// # Agents
//
//	node.StopAgent(); node.StartAgent(ctx, agent.With("--masquerade-all"))
//
// An agent has started when the node's own processes reach the API server through
// the Service default/kubernetes. Its log is NODE.log in the log directory.
//
// # What is left behind
//
// Nothing, except the logs after KeepLogs.
package cluster
