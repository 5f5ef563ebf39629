// Package fleet tells the cluster how the agent of a node does, by the node's
// ProxyNode, so that one list shows all of them.
//
// A large cluster has thousands of agents, and what one sees (a Service comes, a
// ProxyConfig changes) all see at once. So an agent writes at most once in an
// interval, some random time after a change, and for the time of the last
// transaction alone only every tenth interval.
package fleet
