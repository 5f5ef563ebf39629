// Package config makes an agent's configuration: of its flags, of a file, and of
// the ProxyConfigs of the cluster, each of which overrides the one before, field by
// field.
//
// [Merge] decides what the objects say for one node. [Follower] watches file,
// objects and the node's labels, and hands on what is valid; what isn't is told,
// and the last good configuration stays in force.
package config
