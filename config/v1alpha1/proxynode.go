package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ProxyNode tells how the agent of one node does. It has the name of the node and goes with it. The agent writes it
// when something changes, and at most once a minute; what it says can be that old.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=vmapnode
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Services",type=integer,JSONPath=`.status.services`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`
// +kubebuilder:printcolumn:name="Quarantined",type=integer,JSONPath=`.status.quarantined.count`
// +kubebuilder:printcolumn:name="Owned",type=boolean,JSONPath=`.status.tableOwned`
// +kubebuilder:printcolumn:name="Config",type=string,JSONPath=`.status.configuration.hash`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="ConfigurationAccepted")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.agentVersion`
// +kubebuilder:printcolumn:name="Kernel",type=string,priority=1,JSONPath=`.status.kernelRelease`
// +kubebuilder:printcolumn:name="Last Change",type=date,priority=1,JSONPath=`.status.lastTransactionTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ProxyNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Status ProxyNodeStatus `json:"status,omitempty"`
}

// ProxyNodeStatus is what an agent tells.
type ProxyNodeStatus struct {
	// Version of the agent.
	//
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`

	// Release of the node's kernel.
	//
	// +optional
	KernelRelease string `json:"kernelRelease,omitempty"`

	// Number of Services that the node serves.
	Services int32 `json:"services"`

	// Number of endpoints behind them.
	Endpoints int32 `json:"endpoints"`

	// API objects of which something can't be used.
	Quarantined Quarantined `json:"quarantined"`

	// When the table was changed last. It is brought up to date with what else changes, and every ten minutes.
	//
	// +optional
	LastTransactionTime *metav1.Time `json:"lastTransactionTime,omitempty"`

	// Whether other processes are kept from changing the table.
	TableOwned bool `json:"tableOwned"`

	// The configuration in force.
	//
	// +optional
	Configuration ConfigurationStatus `json:"configuration,omitempty"`

	// Ready: the table is complete. Synced: it is all that the objects ask for. ConfigurationAccepted: the configuration
	// in force is what the ProxyConfigs say; its observedGeneration is that of the object named default, or of the one
	// that is refused.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Quarantined are API objects of which something can't be used.
type Quarantined struct {
	// How many there are.
	Count int32 `json:"count"`

	// The first of them, by name.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	Objects []string `json:"objects,omitempty"`
}

// ConfigurationStatus tells of a node's configuration.
type ConfigurationStatus struct {
	// Hash of the settings in force. Nodes with the same hash are configured alike.
	//
	// +optional
	Hash string `json:"hash,omitempty"`

	// The ProxyConfigs that are for this node, from the lowest priority to the highest.
	//
	// +optional
	// +listType=atomic
	Objects []ConfigurationObject `json:"objects,omitempty"`
}

// ConfigurationObject is a ProxyConfig of which a node knows.
type ConfigurationObject struct {
	// Name of the ProxyConfig.
	Name string `json:"name"`

	// Its metadata.generation.
	Generation int64 `json:"generation"`
}

// The types of conditions.
const (
	ConditionReady                 = "Ready"
	ConditionSynced                = "Synced"
	ConditionConfigurationAccepted = "ConfigurationAccepted"
)

// ProxyNodeList is a list of ProxyNodes.
//
// +kubebuilder:object:root=true
type ProxyNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProxyNode `json:"items"`
}
