package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// browser looks at a tree of files and keeps a catalog of what they say.
type browser struct {
	root   string
	reader reader
	*catalog
	tree    *tree
	emptied map[string]bool // files that had objects, and now nothing
}

func newBrowser(root string, opts Options) *browser {
	return &browser{
		root:    root,
		reader:  reader{node: opts.NodeName, convert: convert.New(opts.ServiceProxyName), log: opts.Log},
		catalog: newCatalog(opts.Log),
		emptied: make(map[string]bool),
	}
}

// look reads the files that are new or other than they were, and forgets those
// that are gone. What can't be looked into stays as it was.
func (b *browser) look() error {
	t, err := scan(b.root)
	if err != nil {
		return fmt.Errorf("read manifests in %s: %w", b.root, err)
	}
	b.tree = t
	for path, err := range t.unread {
		b.fail(path, err)
	}
	for path := range b.files {
		if _, there := t.files[path]; !there && !t.hides(path) {
			b.remove(path)
		}
	}
	for path, now := range t.files {
		if f := b.files[path]; f == nil || f.stamp != now {
			b.open(path)
		}
	}
	return nil
}

// open reads a file anew. One that has become empty may be about to be written:
// it is only noted, and stays as it was.
func (b *browser) open(path string) {
	data, now, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b.remove(path)
		return
	}
	if f := b.files[path]; err == nil && len(data) == 0 && f != nil && len(f.objects) > 0 {
		b.emptied[path] = true
		return
	}
	delete(b.emptied, path)
	b.take(path, data, now, err)
}

// believeEmpty takes the files that are still empty for what they are.
func (b *browser) believeEmpty() {
	for path := range b.emptied {
		delete(b.emptied, path)
		data, now, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			b.remove(path)
			continue
		}
		b.take(path, data, now, err)
	}
}

// take enters what was read from a file.
func (b *browser) take(path string, data []byte, now stamp, err error) {
	var objects []object
	if err == nil {
		objects, err = b.reader.read(path, data)
	}
	b.file(path).stamp = now
	if err != nil {
		b.fail(path, err)
		return
	}
	b.put(path, objects)
}

// readFile reads a file, and takes its stamp before, so that a later write shows.
// The stamp of a file that changed just now is left unset: the file system's clock
// is too coarse to tell it from the next change.
func readFile(path string) ([]byte, stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, stamp{}, err
	}
	now := stampOf(info)
	if time.Since(time.Unix(now.changed.Unix())) < coarsestClock {
		now = stamp{}
	}
	data, err := os.ReadFile(path)
	return data, now, err
}

// coarsestClock is above the tick of the kernel's clock for files, 1 to 10 ms.
const coarsestClock = 50 * time.Millisecond
