package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestBadFlagsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string // SOURCE_DATE_EPOCH
		want string
	}{
		"platform without system":  {[]string{"--platform=arm64"}, "", "--platform=arm64: must be linux/ARCHITECTURE"},
		"platform with variant":    {[]string{"--platform=linux/arm/v7"}, "", "--platform=linux/arm/v7: must be linux/ARCHITECTURE"},
		"other system":             {[]string{"--platform=windows/amd64"}, "", "--platform=windows/amd64: must be linux/ARCHITECTURE"},
		"no platform":              {[]string{"--platform="}, "", "at least one is needed"},
		"version that is no tag":   {[]string{"--version=1.0+dirty"}, "", "--version=1.0+dirty: can't be an image's tag"},
		"name in upper case":       {[]string{"--name=registry.example/Kube-vmap"}, "", "--name=registry.example/Kube-vmap: must be an image's name"},
		"name with tag and digest": {[]string{"--name=registry.example/a@sha256:b"}, "", "must be an image's name"},
		"time that is no number":   {[]string{"--version=v1", "--revision=a"}, "yesterday", `SOURCE_DATE_EPOCH="yesterday": must be seconds since 1970`},
		"no checkout":              {[]string{"--root=/proc"}, "", "ask git for what --version does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SOURCE_DATE_EPOCH", c.env)
			err := run(t.Context(), append(c.args, "--output", t.TempDir()))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestRegistryWithPort(t *testing.T) {
	src, err := findSource(t.Context(), &options{root: "../..", name: "localhost:5000/team/kube-vmap", version: "v1"})
	if err != nil || src.Version != "v1" || len(src.Revision) != 40 {
		t.Errorf("%+v, %v", src, err)
	}
}

// What goes into an image goes with its license, and is vouched for by go.sum.
func TestModulesWithoutLicenseOrChecksumAreRefused(t *testing.T) {
	if _, err := licensesOf("example.com/x", t.TempDir()); err == nil || !strings.Contains(err.Error(), "find the license of example.com/x") {
		t.Errorf("error %v", err)
	}
	local := &debug.Module{Path: "example.com/x", Version: "v1.0.0", Replace: &debug.Module{Path: "../x"}}
	if _, err := modulePackage("id", local); err == nil || !strings.Contains(err.Error(), "list module ../x") {
		t.Errorf("error %v", err)
	}
}
