package main

import (
	"io"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
)

// Limits of the metrics of connections. A node's series cost its Prometheus memory
// on each of the cluster's nodes.
const (
	mostServicePorts = 2000
	mostEndpoints    = 5000
	// readingShare: to read the counters takes at most a fiftieth of the time. 10,000
	// take 13 ms, so they may be scraped every second; 400,000 (of endpoints) take
	// seconds.
	readingShare = 50
)

// exportConnections adds the connections of service ports to the metrics. They are
// read when somebody asks, by a connection of their own.
func exportConnections(table string, m *metrics.Metrics) (io.Closer, error) {
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return nil, err
	}
	m.Register(metrics.NewConnections(metrics.ConnectionsOptions{
		Read: proxy.Connections(table, conn), ServicePorts: mostServicePorts, Endpoints: mostEndpoints, Share: readingShare,
	}))
	return conn, nil
}
