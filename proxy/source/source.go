// Package source turns API objects into the proxy's model. Its sub-packages
// watch them: manifests in a directory, kubernetes in a cluster.
package source

import (
	"context"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Source watches objects and tells the sink of them until the context ends.
type Source interface {
	// Run delivers everything there is, calls Synced once, and then delivers
	// changes. It returns nil when the context ends, and an error if it can't
	// begin or go on; what was delivered stays in force.
	Run(ctx context.Context, sink Sink) error
}

// Renamer is a source that can take the Services of another proxy's name while it
// runs: those with another value of the label
// service.kubernetes.io/service-proxy-name. The sink hears of the difference in one
// update, so that nothing goes that comes back. It returns at once, and may be called
// from any goroutine, also before Run; done is closed when the Services of that name,
// or of a later one, are delivered.
type Renamer interface {
	SetServiceProxyName(name string) (done <-chan struct{})
}

// Sink takes what a source sees. Its methods may be called from any goroutine,
// and return at once: the work is done elsewhere.
type Sink interface {
	// Apply takes changes that belong together.
	Apply(model.Update)
	// Synced says that everything there was at the start has been delivered.
	// Nothing is programmed before.
	Synced()
}
