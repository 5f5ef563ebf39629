package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DefaultName is the name of the ProxyConfig for all nodes.
const DefaultName = "default"

// ProxyConfig tunes running agents. The object named default is for all nodes; others have a nodeSelector, and
// override single fields on the nodes that it selects. A field that no object sets is what the agent's flags say.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=vmapcfg
// +kubebuilder:printcolumn:name="Priority",type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.spec.nodeSelector`
// +kubebuilder:printcolumn:name="Node Ports",type=string,JSONPath=`.spec.nodePortAddresses`
// +kubebuilder:printcolumn:name="Detect Local",type=string,JSONPath=`.spec.detectLocal.mode`
// +kubebuilder:printcolumn:name="Coalesce",type=string,JSONPath=`.spec.coalesce`
// +kubebuilder:printcolumn:name="Counters",type=string,JSONPath=`.spec.counters`
// +kubebuilder:printcolumn:name="Ownership",type=string,priority=1,JSONPath=`.spec.tableOwnership`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default' || has(self.spec.nodeSelector)",message="spec.nodeSelector is missing: it says which nodes the object is for; settings for all nodes belong in the object named default"
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'default' || !has(self.spec.nodeSelector)",message="spec.nodeSelector: the object named default is for all nodes; give the object another name, or leave the selector out"
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'default' || !has(self.spec.priority)",message="spec.priority: the object named default comes before all others; give the object another name, or leave the priority out"
type ProxyConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ProxyConfigSpec `json:"spec"`
}

// ProxyConfigSpec is what a ProxyConfig says.
type ProxyConfigSpec struct {
	// The nodes that the object is for: those that have all these labels. Required but in the object named default,
	// which is for all nodes. One node is selected by its label kubernetes.io/hostname.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Which object counts where several set a field for a node: that of the highest priority. The object named default
	// has the lowest of all. Two objects of the same priority that give a field different values for the same node are
	// a conflict: the node keeps the last configuration that had none.
	//
	// Default: 0.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Priority *int32 `json:"priority,omitempty"`

	Settings `json:",inline"`
}

// Settings are the fields that objects override one by one. One that is absent says nothing.
type Settings struct {
	// Addresses of a node that accept node ports: primary (the node's InternalIPs, one of each family), or prefixes
	// that select among the addresses that the node has.
	//
	// Default: [primary]. Flag: --nodeport-addresses.
	//
	// Live: connections through an address that is taken away go on; new ones are no longer served.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!self.exists(a, a == 'primary') || size(self) == 1",message="primary stands alone; use [primary], or prefixes such as 192.0.2.0/24"
	// +kubebuilder:validation:XValidation:rule="self.all(a, a == 'primary' || isCIDR(a))",message="there is something that is no prefix; use prefixes such as 192.0.2.0/24, or primary alone",messageExpression="'\"' + self.filter(a, !isCIDR(a))[0] + '\" is no prefix; use prefixes such as 192.0.2.0/24 or 2001:db8::/64, or primary alone'"
	NodePortAddresses []string `json:"nodePortAddresses,omitempty"`

	// How traffic of pods is told from traffic from outside, which is masqueraded on its way to cluster IPs. An object
	// that sets it sets all of it.
	//
	// Default: mode ClusterCIDR without prefixes, so that pods are not told. Flags: --detect-local-mode,
	// --cluster-cidr, --pod-bridge-interface, --pod-interface-name-prefix.
	//
	// Live: it decides on new connections; those that are there keep the addresses they have.
	//
	// +optional
	DetectLocal *DetectLocal `json:"detectLocal,omitempty"`

	// Masquerade all traffic to cluster IPs.
	//
	// Default: false. Flag: --masquerade-all.
	//
	// Live: it decides on new connections.
	//
	// +optional
	MasqueradeAll *bool `json:"masqueradeAll,omitempty"`

	// The bit of the packet mark, 0 to 31, that says that a packet is to be masqueraded. Nothing else on the node may
	// use it.
	//
	// Default: 14. Flag: --masquerade-bit.
	//
	// Live: for the moment of the change both bits are taken, so that packets on their way are masqueraded.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31
	MasqueradeBit *int32 `json:"masqueradeBit,omitempty"`

	// How long changes are collected after a transaction, 0s to 1s. The first change after a pause of that length is
	// programmed at once.
	//
	// Default: 5ms. Flag: --coalesce.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self) <= duration('1s')",message="is too long; use 0s to 1s, such as 5ms"
	Coalesce *Duration `json:"coalesce,omitempty"`

	// Session affinity.
	//
	// +optional
	SessionAffinity *SessionAffinity `json:"sessionAffinity,omitempty"`

	// Sysctls of conntrack below net.netfilter. What is 0, 0s or false leaves a sysctl as it is: the agent does not put
	// one back that it has set before. A pod sees /proc/sys read-only; there only the init container sets them
	// (conntrack.enabled of the chart), and the agent says in its log which could not be set.
	//
	// +optional
	Conntrack *Conntrack `json:"conntrack,omitempty"`

	// What connections are counted by: None; Services, new connections of each service port; Endpoints, also those of
	// each endpoint. A count costs the first packet of a connection some nanoseconds.
	//
	// Default: Services. Flag: --counters.
	//
	// Live: the table is replaced in one transaction; counts go on, and session-affinity bindings are kept as for
	// sessionAffinity.maxBindings.
	//
	// +optional
	Counters *CountersLevel `json:"counters,omitempty"`

	// Whether other processes are kept from changing the table: Auto, where the kernel can (from 6.9); Required;
	// Disabled. Where it is Required and the kernel can't, the configuration is refused.
	//
	// Default: Auto. Flag: --table-ownership.
	//
	// Live: the table is replaced in one transaction, since the kernel can't change a table's owner; session-affinity
	// bindings are kept as for sessionAffinity.maxBindings.
	//
	// +optional
	TableOwnership *TableOwnership `json:"tableOwnership,omitempty"`

	// What is done about changes of the table by other processes.
	//
	// +optional
	Repair *Repair `json:"repair,omitempty"`

	// Addresses in the spec.externalIPs of Services that are served: all, none, or prefixes. Whoever may write a Service
	// can name any address there, also somebody else's (CVE-2020-8554).
	//
	// Default: [all]. Flag: --external-ips.
	//
	// Live: connections through an address that is taken away go on; new ones are no longer served.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!self.exists(a, a in ['all', 'none']) || size(self) == 1",message="all and none stand alone; use [all], [none], or prefixes such as 203.0.113.0/24"
	// +kubebuilder:validation:XValidation:rule="self.all(a, a in ['all', 'none'] || isCIDR(a))",message="there is something that is no prefix; use prefixes such as 203.0.113.0/24, or all or none alone",messageExpression="'\"' + self.filter(a, !isCIDR(a))[0] + '\" is no prefix; use prefixes such as 203.0.113.0/24 or 2001:db8::/64, or all or none alone'"
	ExternalIPs []string `json:"externalIPs,omitempty"`

	// The agent's log.
	//
	// +optional
	Logging *Logging `json:"logging,omitempty"`

	// Take the Services with this value of the label service.kubernetes.io/service-proxy-name. Empty: those without the
	// label.
	//
	// Default: empty. Flag: --service-proxy-name.
	//
	// Live: the Services of the one name go and those of the other come in one step; Services that stay are not touched.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="is no value of a label; use letters, digits, -, _ and ., with a letter or digit at both ends"
	ServiceProxyName *string `json:"serviceProxyName,omitempty"`
}

// Duration is a time such as 5ms, 30s or 1h30m: the form of the Gateway API (GEP-2257), which is a part of what
// [time.ParseDuration] reads.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')",message="is no time; use one such as 5ms, 30s or 1h30m"
type Duration string

// DetectLocal says how pods are told.
//
// +kubebuilder:validation:XValidation:rule="self.mode == 'ClusterCIDR' || !has(self.clusterCIDRs)",message="clusterCIDRs are of no use in this mode; use mode ClusterCIDR, or leave them out"
// +kubebuilder:validation:XValidation:rule="self.mode == 'BridgeInterface' || !has(self.bridgeInterface)",message="bridgeInterface is of no use in this mode; use mode BridgeInterface, or leave it out"
// +kubebuilder:validation:XValidation:rule="self.mode == 'InterfaceNamePrefix' || !has(self.interfaceNamePrefix)",message="interfaceNamePrefix is of no use in this mode; use mode InterfaceNamePrefix, or leave it out"
// +kubebuilder:validation:XValidation:rule="self.mode != 'BridgeInterface' || has(self.bridgeInterface)",message="mode BridgeInterface needs bridgeInterface, the name of the pods' bridge such as cni0"
// +kubebuilder:validation:XValidation:rule="self.mode != 'InterfaceNamePrefix' || has(self.interfaceNamePrefix)",message="mode InterfaceNamePrefix needs interfaceNamePrefix, how the names of the pods' interfaces begin, such as veth"
type DetectLocal struct {
	// The way: ClusterCIDR, by the prefixes of all pods; NodeCIDR, by the node's spec.podCIDRs; BridgeInterface, by the
	// bridge that the node's pods are ports of; InterfaceNamePrefix, by how the names of their interfaces begin.
	//
	// +optional
	// +kubebuilder:default=ClusterCIDR
	Mode DetectLocalMode `json:"mode,omitempty"`

	// Prefixes of all pods of the cluster, of both families, for ClusterCIDR. Without any, pods are not told from
	// outside.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, isCIDR(a))",message="there is something that is no prefix; use prefixes such as 10.244.0.0/16",messageExpression="'\"' + self.filter(a, !isCIDR(a))[0] + '\" is no prefix; use prefixes such as 10.244.0.0/16 or fd00:10:244::/56'"
	ClusterCIDRs []string `json:"clusterCIDRs,omitempty"`

	// Name of the pods' bridge, for BridgeInterface.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^/\\\\s*]+$')",message="is no name of an interface; use one such as cni0"
	BridgeInterface string `json:"bridgeInterface,omitempty"`

	// How the names of the pods' interfaces begin, for InterfaceNamePrefix.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^/\\\\s*]+$')",message="is no beginning of an interface's name; use one such as veth, without a star"
	InterfaceNamePrefix string `json:"interfaceNamePrefix,omitempty"`
}

// DetectLocalMode is a way to tell pods, by kube-proxy's names.
//
// +kubebuilder:validation:Enum=ClusterCIDR;NodeCIDR;BridgeInterface;InterfaceNamePrefix
type DetectLocalMode string

// The ways to tell pods.
const (
	DetectClusterCIDR         DetectLocalMode = "ClusterCIDR"
	DetectNodeCIDR            DetectLocalMode = "NodeCIDR"
	DetectBridgeInterface     DetectLocalMode = "BridgeInterface"
	DetectInterfaceNamePrefix DetectLocalMode = "InterfaceNamePrefix"
)

// SessionAffinity tunes session affinity.
type SessionAffinity struct {
	// The most bindings of clients to endpoints that the kernel keeps, of each family. The connections of further
	// clients are balanced without affinity. A binding takes about 150 bytes.
	//
	// Default: 1048576.
	//
	// Live: the table is replaced in one transaction, since the kernel can't change a map's size. Bindings are carried
	// over, as many as fit, and up to 262144; one that a client gets in that moment may be lost.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16777216
	MaxBindings *int32 `json:"maxBindings,omitempty"`
}

// Conntrack are settings by kube-proxy's names.
type Conntrack struct {
	// Raise nf_conntrack_max to this many connections for each CPU, up to 1048576 in all. It is never lowered.
	//
	// Default: 32768. Flag: --conntrack-max-per-core.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxPerCore *int32 `json:"maxPerCore,omitempty"`

	// But at least to this many.
	//
	// Default: 131072. Flag: --conntrack-min.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Min *int32 `json:"min,omitempty"`

	// Idle time of established TCP connections.
	//
	// Default: 24h. Flag: --conntrack-tcp-timeout-established.
	//
	// +optional
	TCPEstablishedTimeout *Duration `json:"tcpEstablishedTimeout,omitempty"`

	// Time of TCP connections in CLOSE_WAIT.
	//
	// Default: 1h. Flag: --conntrack-tcp-timeout-close-wait.
	//
	// +optional
	TCPCloseWaitTimeout *Duration `json:"tcpCloseWaitTimeout,omitempty"`

	// Take TCP packets outside the window for valid.
	//
	// Default: false. Flag: --conntrack-tcp-be-liberal.
	//
	// +optional
	TCPBeLiberal *bool `json:"tcpBeLiberal,omitempty"`

	// Idle time of UDP flows that were not answered.
	//
	// Default: 0s. Flag: --conntrack-udp-timeout.
	//
	// +optional
	UDPTimeout *Duration `json:"udpTimeout,omitempty"`

	// Idle time of UDP flows that were answered.
	//
	// Default: 0s. Flag: --conntrack-udp-timeout-stream.
	//
	// +optional
	UDPStreamTimeout *Duration `json:"udpStreamTimeout,omitempty"`
}

// CountersLevel says what connections are counted by.
//
// +kubebuilder:validation:Enum=None;Services;Endpoints
type CountersLevel string

// The levels of counters.
const (
	CountersNone      CountersLevel = "None"
	CountersServices  CountersLevel = "Services"
	CountersEndpoints CountersLevel = "Endpoints"
)

// TableOwnership says whether the table belongs to the agent alone.
//
// +kubebuilder:validation:Enum=Auto;Required;Disabled
type TableOwnership string

// The kinds of ownership.
const (
	OwnershipAuto     TableOwnership = "Auto"
	OwnershipRequired TableOwnership = "Required"
	OwnershipDisabled TableOwnership = "Disabled"
)

// Repair says what is done about changes of the table by other processes.
type Repair struct {
	// Repair reads the table and puts it right; Report tells of the change by event, metric and log, and leaves it,
	// until a transaction fails by it or the agent starts anew; Ignore does not listen.
	//
	// Default: Repair.
	//
	// +optional
	Mode *RepairMode `json:"mode,omitempty"`

	// How long a change may stay at most. The first one after a while is repaired at once; while they follow each
	// other, reading the table takes no more than a tenth of the time, unless they would stay longer than this. 10ms to
	// 1m.
	//
	// Default: 1s.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('10ms') && duration(self) <= duration('1m'))",message="is out of range; use 10ms to 1m"
	MaxDelay *Duration `json:"maxDelay,omitempty"`
}

// RepairMode says what is done about foreign changes.
//
// +kubebuilder:validation:Enum=Repair;Report;Ignore
type RepairMode string

// The modes of repair.
const (
	RepairChanges RepairMode = "Repair"
	ReportChanges RepairMode = "Report"
	IgnoreChanges RepairMode = "Ignore"
)

// Logging tunes the agent's log.
type Logging struct {
	// How much the log says: 0 events, 2 a line for each transaction, 4 each operation.
	//
	// Default: 0. Flag: --v.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Verbosity *int32 `json:"verbosity,omitempty"`
}

// ProxyConfigList is a list of ProxyConfigs.
//
// +kubebuilder:object:root=true
type ProxyConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProxyConfig `json:"items"`
}
