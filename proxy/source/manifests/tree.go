package manifests

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tree is what stands under a directory of manifests at one time.
type tree struct {
	files map[string]stamp  // by path, which begins with the root's
	dirs  map[string]*place // to watch, by their paths without symbolic links

	// unread are the paths that could not be looked into though they exist: what
	// is there is not known to be gone.
	unread map[string]error
}

// stamp tells one state of a file from another by what the file system says.
type stamp struct {
	identity
	size             int64
	written, changed syscall.Timespec
}

// identity is which file or directory has a path.
type identity struct{ device, inode uint64 }

// place is a directory to watch.
type place struct {
	identity
	path string // in the tree; empty for a directory outside

	// names are what matters in a directory outside the tree: the root, and the
	// files that links lead to.
	names map[string]bool
}

// scan looks at everything under root, a directory or a single file. Names that
// begin with a dot are passed over: they are editors' files, and the insides of
// mounted ConfigMaps, whose visible names are links into them. It returns an error
// if the root itself can't be read.
func scan(root string) (*tree, error) {
	t := &tree{files: make(map[string]stamp), dirs: make(map[string]*place), unread: make(map[string]error)}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	t.watchName(root)
	if info.IsDir() {
		t.enter(root)
		return t, t.unread[root]
	}
	t.files[root] = stampOf(info)
	t.watchTarget(root)
	return t, nil
}

// enter takes in a directory, unless another path of it was taken in already.
func (t *tree) enter(path string) {
	p, err := t.place(path)
	if err != nil {
		t.lost(path, err)
		return
	}
	if p.path != "" {
		return
	}
	p.path = path
	entries, err := os.ReadDir(path)
	if err != nil {
		t.lost(path, err)
		return
	}
	for _, e := range entries {
		if !isHidden(e.Name()) {
			t.add(filepath.Join(path, e.Name()), e.Type())
		}
	}
}

// add takes in an entry of a directory, which is of the given type.
func (t *tree) add(path string, is fs.FileMode) {
	if is.IsRegular() && !isManifest(path) {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		t.lost(path, err)
		return
	}
	switch {
	case info.IsDir():
		t.enter(path)
	case info.Mode().IsRegular() && isManifest(path):
		t.files[path] = stampOf(info)
		if is&fs.ModeSymlink != 0 {
			t.watchTarget(path)
		}
	}
}

// watchTarget watches the file that a link leads to.
func (t *tree) watchTarget(path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		t.watchName(target)
	}
}

// watchName watches for one name, which may be outside the tree.
func (t *tree) watchName(path string) {
	p, err := t.place(filepath.Dir(path))
	if err != nil {
		t.lost(path, err)
		return
	}
	if p.names == nil {
		p.names = make(map[string]bool)
	}
	p.names[filepath.Base(path)] = true
}

// place is the directory of the path among those to watch.
func (t *tree) place(path string) (*place, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	if p := t.dirs[path]; p != nil {
		return p, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	p := &place{identity: stampOf(info).identity}
	t.dirs[path] = p
	return p, nil
}

// lost notes a path that can't be looked into, unless it is gone.
func (t *tree) lost(path string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		t.unread[path] = err
	}
}

// has reports whether the path is that of a directory of the tree.
func (t *tree) has(path string) bool {
	for _, p := range t.dirs {
		if p.path == path {
			return true
		}
	}
	return false
}

// hides reports whether the file may be there although the tree does not have it.
func (t *tree) hides(path string) bool {
	for unread := range t.unread {
		if path == unread || strings.HasPrefix(path, unread+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

func stampOf(info fs.FileInfo) stamp {
	st := info.Sys().(*syscall.Stat_t) // what package os gives on Linux
	return stamp{identity{st.Dev, st.Ino}, st.Size, st.Mtim, st.Ctim}
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// isManifest reports whether the name is that of a file of manifests.
func isManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
