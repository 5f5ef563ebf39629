// Package model holds what the proxy knows of the cluster as plain values:
// services, endpoint slices, the node, and the names of frontends. Addresses are
// net/netip, strings are what the API calls them, and nothing here refers to API
// objects, kernels or loggers, so that everything built on it is a function of
// values.
//
// Values are immutable once they are handed to the proxy: a source makes a new
// Service or EndpointSlice for each change.
package model
