package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// file is a regular file of the image or of the archive. Its path is relative.
type file struct {
	Path string
	Mode int64
	Data []byte
}

// layer is a file system: a compressed tar.
type layer struct {
	Compressed []byte
	DiffID     digest.Digest // of the tar before it is compressed
}

func newLayer(files []file, modified time.Time) (layer, error) {
	var raw, compressed bytes.Buffer
	if err := writeTar(&raw, files, modified); err != nil {
		return layer{}, err
	}
	// Of the gzip header, Go sets nothing that depends on time or machine.
	zw, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return layer{}, err
	}
	if _, err := zw.Write(raw.Bytes()); err != nil {
		return layer{}, err
	}
	err = zw.Close()
	return layer{Compressed: compressed.Bytes(), DiffID: digest.FromBytes(raw.Bytes())}, err
}

// writeTar writes files in the order of their paths, each directory before what is
// in it, all owned by root and of one time.
func writeTar(buf *bytes.Buffer, files []file, modified time.Time) error {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	w := tar.NewWriter(buf)
	known := map[string]bool{".": true}
	for _, f := range files {
		if err := writeDirs(w, known, path.Dir(f.Path), modified); err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: f.Mode, Size: int64(len(f.Data)), ModTime: modified}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return w.Close()
}

// writeDirs writes a directory and those above it, once.
func writeDirs(w *tar.Writer, known map[string]bool, dir string, modified time.Time) error {
	if known[dir] {
		return nil
	}
	known[dir] = true
	if err := writeDirs(w, known, path.Dir(dir), modified); err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: modified}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	return nil
}
