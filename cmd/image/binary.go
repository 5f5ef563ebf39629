package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// platform is an operating system and an architecture, in Go's words, which are
// the OCI's as well.
type platform struct {
	OS, Architecture string
}

func (p platform) String() string { return p.OS + "/" + p.Architecture }

// variant is the OCI's name for the oldest processor of the architecture that
// can run the binary.
func (p platform) variant() string {
	if p.Architecture == "arm64" {
		return "v8"
	}
	return ""
}

// env makes Go build for the platform, the same on every machine. GOFLAGS has a
// value, if only a default, since an empty one leaves that of `go env -w` in force.
func (p platform) env() []string {
	return []string{"CGO_ENABLED=0", "GOOS=" + p.OS, "GOARCH=" + p.Architecture, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-buildvcs=auto"}
}

func parsePlatforms(names []string) ([]platform, error) {
	var ps []platform
	for _, name := range names {
		system, arch, ok := strings.Cut(name, "/")
		if !ok || system != "linux" || arch == "" || strings.Contains(arch, "/") {
			return nil, fmt.Errorf("--platform=%s: must be linux/ARCHITECTURE, such as linux/amd64 or linux/arm64", name)
		}
		ps = append(ps, platform{system, arch})
	}
	if len(ps) == 0 {
		return nil, fmt.Errorf("--platform: at least one is needed")
	}
	return ps, nil
}

// binary is the agent for one platform.
type binary struct {
	Data []byte
	Info *debug.BuildInfo
}

// compile builds the agent, static.
func compile(ctx context.Context, src *source, p platform) (bin *binary, err error) {
	dir, err := os.MkdirTemp("", "kube-vmap-image-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "kube-vmap")
	_, err = command(ctx, src.Root, p.env(), "go", "build", "-trimpath",
		"-ldflags", "-s -w -X main.version="+src.Version, "-o", path, "./cmd/kube-vmap")
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read what the binary is made of: %w", err)
	}
	return &binary{Data: data, Info: info}, nil
}
