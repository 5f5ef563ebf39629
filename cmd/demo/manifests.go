package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

// manifests is a copy of the manifests, which the demo edits.
type manifests struct {
	dir   string
	files map[string]string // path: content to begin with
}

func copyManifests(from, to string) (*manifests, error) {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return nil, fmt.Errorf("copy manifests: %w", err)
	}
	m := &manifests{dir: to, files: map[string]string{}}
	paths, err := filepath.Glob(filepath.Join(to, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		m.files[path] = string(content)
	}
	return m, nil
}

// remove takes a backend's endpoints out of all EndpointSlices, and returns when
// the last file was replaced.
func (m *manifests) remove(addrs []string) (time.Time, error) {
	return m.rewrite(func(content string) (string, error) { return without(content, addrs) })
}

// restore brings all files back to what they were.
func (m *manifests) restore() (time.Time, error) {
	return m.rewrite(func(content string) (string, error) { return content, nil })
}

// rewrite replaces the files whose content changes, each by a rename, as editors do.
func (m *manifests) rewrite(edit func(string) (string, error)) (time.Time, error) {
	var last time.Time
	for path, original := range m.files {
		content, err := edit(original)
		if err != nil {
			return last, fmt.Errorf("edit %s: %w", filepath.Base(path), err)
		}
		if now, err := os.ReadFile(path); err == nil && string(now) == content {
			continue
		}
		beside := filepath.Join(filepath.Dir(m.dir), "edited.yaml")
		if err := os.WriteFile(beside, []byte(content), 0o644); err != nil {
			return last, err
		}
		last = time.Now()
		if err := os.Rename(beside, path); err != nil {
			return last, err
		}
	}
	return last, nil
}

var separator = regexp.MustCompile(`(?m)^---\s*$`)

// without is a manifest without the endpoints of some addresses. Documents that
// do not have them stay as they are.
func without(content string, addrs []string) (string, error) {
	documents := separator.Split(content, -1)
	for i, document := range documents {
		var slice discoveryv1.EndpointSlice
		if err := yaml.Unmarshal([]byte(document), &slice); err != nil || slice.Kind != "EndpointSlice" {
			continue
		}
		before := len(slice.Endpoints)
		slice.Endpoints = slices.DeleteFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool {
			return slices.ContainsFunc(e.Addresses, func(a string) bool { return slices.Contains(addrs, a) })
		})
		if len(slice.Endpoints) == before {
			continue
		}
		edited, err := yaml.Marshal(slice)
		if err != nil {
			return "", err
		}
		documents[i] = "\n" + string(edited)
	}
	return strings.Join(documents, "---"), nil
}
