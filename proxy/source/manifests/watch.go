package manifests

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/kube-vmap/kube-vmap/proxy/source"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// watch follows the changes of a tree of files. One goroutine runs it and owns
// everything in it.
type watch struct {
	*browser
	patience
	renames <-chan rename
	sink    source.Sink
	notify  *fsnotify.Watcher

	watched map[string]identity // the directories under watch, by their paths without links
	late    map[string]bool     // those that can't be watched
	touched map[string]bool     // files that were written or removed since they were read
	moved   bool                // more than files has changed since the last look
}

func newWatch(d *directory, sink source.Sink) (*watch, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch manifests in %s: %w", d.root, err)
	}
	return &watch{
		browser:  newBrowser(d.root, d.opts),
		patience: d.patience,
		renames:  d.renames,
		sink:     sink,
		notify:   notify,
		watched:  make(map[string]identity),
		late:     make(map[string]bool),
		touched:  make(map[string]bool),
	}, nil
}

func (w *watch) close() error { return w.notify.Close() }

// run delivers what there is and then what changes, until the context ends.
func (w *watch) run(ctx context.Context) error {
	if err := w.lookAndWatch(); err != nil {
		return err
	}
	w.deliver()
	w.sink.Synced()

	rescan := time.NewTicker(w.rescan)
	defer rescan.Stop()
	var burst burst
	var empty <-chan time.Time
	for {
		if empty == nil && len(w.emptied) > 0 {
			empty = time.After(w.empty)
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.notify.Events:
			if w.note(e) {
				burst.extend(w.patience)
			}
			continue
		case err := <-w.notify.Errors:
			w.log.Error(err, "Looking at all manifests: some changes were not told", "dir", w.root)
			w.moved = true
		case <-rescan.C:
			w.moved = true
		case <-burst.over:
		case r := <-w.renames:
			w.rename(r.name)
			w.catchUp()
			for _, done := range r.done {
				close(done)
			}
			continue
		case <-empty:
			empty = nil
			w.believeEmpty()
		}
		burst.end()
		w.catchUp()
	}
}

// rename makes the next look read all files for another proxy.
func (w *watch) rename(name string) {
	w.reader.convert = convert.New(name)
	for _, f := range w.files {
		f.stamp = stamp{}
	}
	w.moved = true
}

// burst is a run of changes that are read together.
type burst struct {
	first time.Time
	over  <-chan time.Time
}

func (b *burst) extend(p patience) {
	now := time.Now()
	if b.over == nil {
		b.first = now
	}
	b.over = time.After(min(p.quiet, p.burst-now.Sub(b.first)))
}

func (b *burst) end() { b.over = nil }

// catchUp reads what changed, and delivers it.
func (w *watch) catchUp() {
	if w.moved {
		if err := w.lookAndWatch(); err != nil {
			w.log.Error(err, "Left all manifests as they were", "dir", w.root)
		}
	} else {
		for path := range w.touched {
			w.open(path)
		}
	}
	w.moved = false
	clear(w.touched)
	w.deliver()
}

func (w *watch) deliver() {
	if update, changed := w.ledger.Take(); changed {
		w.sink.Apply(update)
	}
}

// lookAndWatch looks at everything, and again while there are directories that
// were not under watch when it looked.
func (w *watch) lookAndWatch() error {
	for {
		if err := w.look(); err != nil {
			return err
		}
		if !w.watchTree() {
			return nil
		}
	}
}

// watchTree makes the directories of the tree those under watch, and reports
// whether any was not before.
func (w *watch) watchTree() (added bool) {
	alive := make(map[string]bool)
	for _, path := range w.notify.WatchList() {
		alive[path] = true
	}
	for path, id := range w.watched {
		if p := w.tree.dirs[path]; p == nil || p.identity != id || !alive[path] {
			delete(w.watched, path)
			if alive[path] {
				w.unwatch(path)
			}
		}
	}
	for path, p := range w.tree.dirs {
		if _, watched := w.watched[path]; !watched {
			added = w.add(path, p.identity) || added
		}
	}
	return added
}

func (w *watch) unwatch(path string) {
	if err := w.notify.Remove(path); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
		w.log.V(1).Info("A directory that is gone stays under watch", "dir", path, "error", err.Error())
	}
}

// add puts a directory under watch. Without a watch its changes are seen at the
// next look at everything.
func (w *watch) add(path string, id identity) bool {
	err := w.notify.Add(path)
	if err == nil {
		w.watched[path] = id
		delete(w.late, path)
		return true
	}
	if errors.Is(err, fs.ErrNotExist) || w.late[path] {
		return false
	}
	w.late[path] = true
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: raise the sysctl fs.inotify.max_user_watches", err)
	}
	w.log.Error(err, "Changes show late in a directory that can't be watched", "dir", path, "within", w.rescan.String())
	return false
}

// note takes down what an event tells of, and reports whether it matters.
func (w *watch) note(e fsnotify.Event) bool {
	if _, itself := w.watched[e.Name]; itself {
		w.moved = true
		return true
	}
	dir, name := filepath.Split(e.Name)
	p := w.tree.dirs[filepath.Clean(dir)]
	switch {
	case p == nil:
		return false
	case p.names[name]:
		w.moved = true
		return true
	case p.path == "":
		return false
	}
	return w.noteIn(p, name, e.Name)
}

// noteIn takes down that a name in a directory of the tree has changed: a file of
// manifests is read again, and for anything that files could be under or behind,
// everything is looked at.
func (w *watch) noteIn(p *place, name, real string) bool {
	info, err := os.Lstat(real)
	gone := errors.Is(err, fs.ErrNotExist)
	path := filepath.Join(p.path, name)
	switch {
	case err == nil && (info.IsDir() && !isHidden(name) || info.Mode()&fs.ModeSymlink != 0), gone && w.tree.has(path):
		w.moved = true
	case isHidden(name) || !isManifest(name):
		return false
	default:
		w.touched[path] = true
	}
	return true
}
