package controlplane

import (
	"net/netip"
	"strconv"
	"strings"
)

// etcdArgs make a single member that listens on unix sockets only.
func (cp *ControlPlane) etcdArgs() []string {
	client, peer := cp.etcdURL(), "unix://"+cp.path("peer.sock")
	return []string{
		"--name=end-to-end",
		"--data-dir=" + cp.path("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=end-to-end=" + peer,
		"--unsafe-no-fsync",     // the data need not survive a crash of the machine
		"--snapshot-count=2000", // fewer entries in memory than the default's 10,000
		"--max-wals=1",          // a segment is 64 MB
		"--quota-backend-bytes=1073741824",
		"--log-level=warn",
	}
}

func (cp *ControlPlane) etcdURL() string { return "unix://" + cp.path("etcd.sock") }

// apiServerArgs follow kubeadm's where they decide what clients see: RBAC, the
// issuer of tokens, admission by the defaults.
func (cp *ControlPlane) apiServerArgs() []string {
	return []string{
		"--etcd-servers=" + cp.etcdURL(),
		"--bind-address=" + cp.server.Addr().String(),
		"--advertise-address=" + cp.server.Addr().String(),
		"--endpoint-reconciler-type=" + endpointReconciler(cp.server.Addr()),
		"--secure-port=" + strconv.Itoa(int(cp.server.Port())),
		"--permit-port-sharing", // see reservePort
		"--tls-cert-file=" + cp.path(serverCertFile),
		"--tls-private-key-file=" + cp.path(serverKeyFile),
		"--client-ca-file=" + cp.path(caFile),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + cp.path(serviceAccountKeyFile),
		"--service-account-key-file=" + cp.path(serviceAccountKeyFile),
		"--service-cluster-ip-range=" + joinPrefixes(cp.options.ServiceCIDRs),
		"--authorization-mode=RBAC",
		"--allow-privileged",
		// It taints each new Node as not ready, for node lifecycle to clear.
		"--disable-admission-plugins=TaintNodesByCondition",
		// The tests create objects as fast as they can.
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=0",
		"--max-mutating-requests-inflight=0",
	}
}

// endpointReconciler names what maintains the endpoints of default/kubernetes.
func endpointReconciler(server netip.Addr) string {
	if server.IsLoopback() {
		return "none"
	}
	return "lease"
}

// controllers are those that Services, their pods and namespaces need. Node
// lifecycle and taint eviction would end pods on nodes without a kubelet.
var controllers = []string{
	"endpointslice-controller",
	"endpointslice-mirroring-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"root-ca-certificate-publisher-controller",
	"service-cidr-controller",
	"serviceaccount-controller",
}

func (cp *ControlPlane) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + cp.path("admin.conf"),
		"--controllers=" + strings.Join(controllers, ","),
		"--root-ca-file=" + cp.path(caFile),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
	}
}

func joinPrefixes(prefixes []netip.Prefix) string {
	s := make([]string, len(prefixes))
	for i, p := range prefixes {
		s[i] = p.String()
	}
	return strings.Join(s, ",")
}
