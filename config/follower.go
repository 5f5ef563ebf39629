package config

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Follower follows what makes a node's configuration, the ProxyConfigs, the file and
// the labels of the node, and hands on each new one. New makes it. It is a
// [source.Source] without objects of its own, which holds back the first
// transaction until the configuration is known: else a restart would program
// another one first.
type Follower struct {
	opts  Options
	agent Agent

	mu     sync.Mutex // the edge: sources call from their goroutines
	inputs inputs
	report Report
	poke   chan struct{}

	// patience is how long the first transaction waits for the ProxyConfigs when all
	// else is known.
	patience time.Duration

	last, refused string // what was applied, and which error was told, last
}

// Options say what a Follower follows.
type Options struct {
	Base Running // of the flags
	File string  // path of a file with a ProxyConfig; empty: none
	// Objects watches the ProxyConfigs and delivers all of them, each time one
	// changes. Nil: there are none.
	Objects func(ctx context.Context, deliver func([]Object)) error
	Log     logr.Logger
}

// Agent is what a configuration is for. Its methods are called one after the other.
type Agent struct {
	// Apply takes a new configuration over. An error refuses it.
	Apply func(context.Context, Running) error
	// Tell is told how it came out each time that something changed.
	Tell func(Report)
}

// Object is a ProxyConfig of the cluster; Err says why it can't be read.
type Object struct {
	v1alpha1.ProxyConfig
	Err error
}

// Report tells of the configuration in force, and of what is refused.
type Report struct {
	Running Running
	Objects []*v1alpha1.ProxyConfig // those that made it, the strongest last
	Err     error                   // why the last one was refused; nil: it was not
	Refused *v1alpha1.ProxyConfig   // whose fault that is; nil: no single object's
}

// inputs are what a configuration is made of.
type inputs struct {
	file    *v1alpha1.ProxyConfig // the last that was valid
	fileErr error
	objects []Object
	node    *model.Node // nil: not known

	sourced bool // the node's labels are known, or there are none for now
	listed  bool // so are the objects
}

// New makes a follower. It reads the file: one that is missing or invalid at the
// start is an error.
func New(opts Options) (*Follower, error) {
	f := &Follower{opts: opts, poke: make(chan struct{}, 1), patience: 5 * time.Second}
	f.inputs.listed = opts.Objects == nil
	f.report.Running = opts.Base
	if opts.File != "" {
		if err := f.readFile(); err != nil {
			return nil, err
		}
		f.report.Running = opts.Base.With(&f.inputs.file.Spec.Settings)
	}
	f.last = f.report.Running.Hash()
	return f, nil
}

// Start is the configuration to begin with: that of the flags and the file.
func (f *Follower) Start() Running { return f.Report().Running }

// For says which agent is configured. Call it before Run.
func (f *Follower) For(a Agent) { f.agent = a }

// Report tells how things stand.
func (f *Follower) Report() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

// Node is the own Node as it passed by; nil while there is none.
func (f *Follower) Node() *model.Node { return f.now().node }

// Run implements [source.Source].
func (f *Follower) Run(ctx context.Context, sink source.Sink) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	if f.opts.File != "" {
		workers.Go(func() { f.followFile(ctx) })
	}
	if f.opts.Objects != nil {
		workers.Go(func() {
			if err := f.opts.Objects(ctx, f.deliver); err != nil && ctx.Err() == nil {
				f.opts.Log.Error(err, "ProxyConfigs are not followed")
			}
		})
	}
	var late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.poke:
		case <-late:
			f.opts.Log.Info("ProxyConfigs are late, begin without them")
			sink.Synced()
			continue
		}
		in := f.now()
		switch {
		case in.sourced && in.listed:
			f.resolve(ctx, &in)
			sink.Synced()
			late = nil
		case in.sourced && late == nil:
			late = time.After(f.patience)
		}
	}
}

// now is a copy of the inputs.
func (f *Follower) now() inputs {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inputs
}

// change changes the inputs and wakes the follower.
func (f *Follower) change(do func(*inputs)) {
	f.mu.Lock()
	do(&f.inputs)
	f.mu.Unlock()
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

func (f *Follower) deliver(objects []Object) {
	f.change(func(in *inputs) { in.objects, in.listed = objects, true })
}

// resolve decides what the configuration is now, and applies it if it is another.
func (f *Follower) resolve(ctx context.Context, in *inputs) {
	running := f.opts.Base
	if in.file != nil {
		running = running.With(&in.file.Spec.Settings)
	}
	merged, refused, err := in.merge()
	if err == nil {
		running = running.With(&merged.Settings)
		if hash := running.Hash(); hash != f.last {
			if err = f.agent.Apply(ctx, running); err == nil {
				f.opts.Log.Info("configured", "hash", hash, "changes", running.Differences(f.report.Running))
				f.last = hash
			} else if n := len(merged.Objects); n > 0 {
				refused = merged.Objects[n-1]
			}
		}
	}
	if ctx.Err() == nil {
		f.conclude(in, running, merged.Objects, refused, err)
	}
}

// merge merges the objects, of which those that can't be read are refused, whoever
// they are for.
func (in *inputs) merge() (m Merged, refused *v1alpha1.ProxyConfig, err error) {
	list := make([]v1alpha1.ProxyConfig, 0, len(in.objects))
	for i := range in.objects {
		if o := &in.objects[i]; o.Err != nil {
			return m, &o.ProxyConfig, &InvalidError{&o.ProxyConfig, o.Err}
		}
		list = append(list, in.objects[i].ProxyConfig)
	}
	var labels map[string]string
	if in.node != nil {
		labels = in.node.Labels
	}
	m, err = Merge(list, labels)
	var invalid *InvalidError
	var conflict *ConflictError
	switch {
	case errors.As(err, &invalid):
		refused = invalid.Object
	case errors.As(err, &conflict):
		refused = conflict.Other
	}
	return m, refused, err
}

// conclude notes how it came out, and tells of it.
func (f *Follower) conclude(in *inputs, running Running, objects []*v1alpha1.ProxyConfig, refused *v1alpha1.ProxyConfig, err error) {
	f.mu.Lock()
	r := &f.report
	if err == nil {
		r.Running, r.Objects = running, objects
	}
	if r.Err, r.Refused = err, refused; err == nil {
		r.Err = in.fileErr
	}
	now := *r
	f.mu.Unlock()
	text := ""
	if now.Err != nil {
		text = now.Err.Error()
	}
	if text != f.refused && text != "" {
		f.opts.Log.Info("configuration refused, the last good one stays in force", "reason", text)
	}
	f.refused = text
	f.agent.Tell(now)
}

// Beside is the source of the node's own objects, from which the follower takes the
// node's labels as they pass.
func (f *Follower) Beside(s source.Source) source.Source { return &beside{s, f} }

type beside struct {
	source.Source
	follower *Follower
}

// Run implements [source.Source].
func (b *beside) Run(ctx context.Context, sink source.Sink) error {
	return b.Source.Run(ctx, &labelSink{sink, b.follower})
}

// labelSink passes everything on.
type labelSink struct {
	source.Sink
	follower *Follower
}

// Apply implements [source.Sink].
func (s *labelSink) Apply(u model.Update) {
	if u.Node != nil {
		s.follower.change(func(in *inputs) { in.node = u.Node })
	}
	s.Sink.Apply(u)
}

// Synced implements [source.Sink].
func (s *labelSink) Synced() {
	s.follower.change(func(in *inputs) { in.sourced = true })
	s.Sink.Synced()
}

// fileError is what is wrong with the file.
func fileError(path string, err error) error { return fmt.Errorf("--config %s: %w", path, err) }
