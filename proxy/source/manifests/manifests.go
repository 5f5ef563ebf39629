// Package manifests is the source that reads a directory of manifests instead of
// an API server: Services, EndpointSlices, the own Node and ServiceCIDRs, as YAML
// or JSON, in as many files and sub-directories as one likes.
//
// A file counts as a whole. One that can't be read, or holds what is not a sound
// manifest, gets an error with line and document and is otherwise as if it had not
// been touched; all other files work on. What a sound manifest says that can't be
// served is a problem of that object, as it is with an API server.
package manifests

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Options say for whom manifests are read.
type Options struct {
	// NodeName is the name of the Node to take; others are ignored.
	NodeName string

	// ServiceProxyName is the value of the label
	// service.kubernetes.io/service-proxy-name of Services to take; empty takes
	// those without the label.
	ServiceProxyName string

	Log logr.Logger
}

// New makes a source of the manifests under dir, which may also be a single file.
func New(dir string, opts Options) source.Source {
	return &directory{root: dir, opts: opts, patience: usual, renames: make(chan rename, 1)}
}

// Load reads the manifests under dir once. The update holds what the sound files
// say; the error joins an [Error] for each thing that is wrong.
func Load(dir string, opts Options) (model.Update, error) {
	opts.Log = logr.Discard()
	b := newBrowser(dir, opts)
	if err := b.look(); err != nil {
		return model.Update{}, err
	}
	update, _ := b.ledger.Take()
	return update, b.err()
}

// directory is the source.
type directory struct {
	root     string
	opts     Options
	patience patience
	renames  chan rename
}

// rename is another name of the proxy.
type rename struct {
	name string
	done []chan struct{} // to be closed
}

var _ source.Renamer = (*directory)(nil)

// SetServiceProxyName implements [source.Renamer].
func (d *directory) SetServiceProxyName(name string) <-chan struct{} {
	done := make(chan struct{})
	r := rename{name, []chan struct{}{done}}
	for {
		select {
		case d.renames <- r:
			return done
		case before := <-d.renames: // nobody took it, and it is out of date
			r.done = append(r.done, before.done...)
		}
	}
}

// patience is for how long to wait for what.
type patience struct {
	quiet  time.Duration // without changes, before those there were are read
	burst  time.Duration // after a burst's first change, at most
	empty  time.Duration // before a file is believed to be empty that was not
	rescan time.Duration // between looks at everything, for changes nobody told of
}

// usual suits editors, which write within microseconds, and file systems without
// notification, such as NFS.
var usual = patience{
	quiet:  5 * time.Millisecond,
	burst:  100 * time.Millisecond,
	empty:  500 * time.Millisecond,
	rescan: 30 * time.Second,
}

// Run implements [source.Source].
func (d *directory) Run(ctx context.Context, sink source.Sink) error {
	w, err := newWatch(d, sink)
	if err != nil {
		return err
	}
	return errors.Join(w.run(ctx), w.close())
}
