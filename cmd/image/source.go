package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// source is what the image is made of.
type source struct {
	Root     string // of the checkout, absolute
	Version  string // a valid tag of an image
	Revision string // the commit
	Created  time.Time
}

// tagForm is what a tag may be (OCI distribution spec 1.1, "Pulling manifests").
var tagForm = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// nameForm is what the name of an image may be, with the host of its registry.
var nameForm = regexp.MustCompile(`^[a-z0-9]+([.:_-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

// findSource asks git for what the flags leave open. The time is the commit's, or
// SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch).
func findSource(ctx context.Context, o *options) (*source, error) {
	if !nameForm.MatchString(o.name) {
		return nil, fmt.Errorf("--name=%s: must be an image's name without tag, in lower case, such as registry.example/kube-vmap", o.name)
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, err
	}
	s := &source{Root: root, Version: o.version, Revision: o.revision}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	for _, ask := range []struct {
		value *string
		args  []string
		flag  string
	}{
		// A fixed number of digits: git's own choice depends on what else is in the repository.
		{&s.Version, []string{"describe", "--tags", "--always", "--dirty", "--abbrev=12"}, "--version"},
		{&s.Revision, []string{"rev-parse", "HEAD"}, "--revision"},
		{&epoch, []string{"log", "-1", "--format=%ct"}, "SOURCE_DATE_EPOCH"},
	} {
		if *ask.value != "" {
			continue
		}
		if *ask.value, err = command(ctx, root, nil, "git", ask.args...); err != nil {
			return nil, fmt.Errorf("ask git for what %s does not say: %w", ask.flag, err)
		}
	}
	if !tagForm.MatchString(s.Version) {
		return nil, fmt.Errorf("--version=%s: can't be an image's tag: letters, digits, '.', '_' and '-' only, 128 at most", s.Version)
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read SOURCE_DATE_EPOCH=%q: must be seconds since 1970: %w", epoch, err)
	}
	s.Created = time.Unix(seconds, 0).UTC()
	return s, nil
}

// command runs a program in a directory, and returns what it printed.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		return "", fmt.Errorf("run %s %s: %w", name, strings.Join(args, " "), errors.Join(err, errors.New(said)))
	}
	return strings.TrimSpace(stdout.String()), nil
}
