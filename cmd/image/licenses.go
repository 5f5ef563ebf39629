package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// licenseName is how files are called that have to go with copies of a program.
var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([._-].*)?$`)

// licenses are the licenses of the agent, of Go, and of each module that is linked
// into the binary for a platform: they ask to go with every copy.
func licenses(ctx context.Context, src *source, p platform) ([]file, error) {
	goroot, err := command(ctx, src.Root, nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"go": goroot}
	list, err := command(ctx, src.Root, p.env(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}{{end}}", "./cmd/kube-vmap")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			dirs[module] = dir
		}
	}
	var files []file
	for module, dir := range dirs {
		found, err := licensesOf(module, dir)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// licensesOf are the licenses in a module's own folder.
func licensesOf(module, dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("find the license of %s: %w", module, err)
	}
	var files []file
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenseName.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the license of %s: %w", module, err)
		}
		files = append(files, file{Path: path.Join("usr/share/licenses", module, e.Name()), Mode: 0o644, Data: data})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("find the license of %s: no file in %s is named like one", module, dir)
	}
	return files, nil
}
