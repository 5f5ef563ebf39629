// Command image builds the container image of kube-vmap, without a container
// engine: an archive that "ctr images import", "docker load" and "kind load
// image-archive" take.
//
//	go run ./cmd/image                  # dist/kube-vmap-VERSION.tar and a bill of materials for each platform
//	go run ./cmd/image --platform linux/arm64 --output /tmp
//
// The image holds one static binary, the licenses of all that is linked into it,
// a bill of materials (SPDX), and no shell. The same commit built by the same
// version of Go gives the same bytes, and so the same digests: times are the
// commit's, nothing depends on the machine.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	root      string // of the checkout
	output    string // directory
	name      string // of the image, without tag
	version   string // "" asks git
	revision  string // "" asks git
	platforms []string
}

func run(ctx context.Context, args []string) error {
	var o options
	fs := pflag.NewFlagSet("image", pflag.ContinueOnError)
	fs.StringVar(&o.root, "root", ".", "root of the checkout")
	fs.StringVar(&o.output, "output", "dist", "directory to write to")
	fs.StringVar(&o.name, "name", "ghcr.io/kube-vmap/kube-vmap", "name of the image, without tag")
	fs.StringVar(&o.version, "version", "", "version, which is also the tag (default: what git describe says)")
	fs.StringVar(&o.revision, "revision", "", "commit (default: what git says)")
	fs.StringSliceVar(&o.platforms, "platform", []string{"linux/amd64", "linux/arm64"},
		"platforms of the image; docker load without the containerd image store gives the first the plain tag")
	if err := fs.Parse(args); err != nil {
		return err
	}
	made, err := build(ctx, &o)
	if err != nil {
		return err
	}
	made.print(os.Stdout)
	return nil
}

// result is what a build made.
type result struct {
	Archive   string // path
	Reference string // name:tag
	Digest    string // of the index
	Platforms []builtPlatform
}

type builtPlatform struct {
	Platform string
	Digest   string // of the manifest
	Size     int64  // of the compressed layer, in bytes
	SBOM     string // path
}

// build makes the image and writes it and its bills of materials.
func build(ctx context.Context, o *options) (*result, error) {
	platforms, err := parsePlatforms(o.platforms)
	if err != nil {
		return nil, err
	}
	src, err := findSource(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.output, 0o755); err != nil {
		return nil, fmt.Errorf("make the output directory: %w", err)
	}
	img := &image{Name: o.name, Tag: src.Version}
	made := &result{
		Reference: img.reference(),
		Archive:   filepath.Join(o.output, "kube-vmap-"+src.Version+".tar"),
	}
	for _, p := range platforms {
		one, err := buildPlatform(ctx, src, p, o.output)
		if err != nil {
			return nil, fmt.Errorf("build for %s: %w", p, err)
		}
		m := img.add(src, p, one.layer)
		made.Platforms = append(made.Platforms, builtPlatform{
			Platform: p.String(), Digest: m.Digest.String(), Size: int64(len(one.layer.Compressed)), SBOM: one.sbom,
		})
	}
	made.Digest = img.finish(src).String()
	return made, img.writeFile(made.Archive, src.Created)
}

// onePlatform is what is made for one platform.
type onePlatform struct {
	layer layer
	sbom  string // path
}

// buildPlatform compiles, and collects the files of the image's only layer.
func buildPlatform(ctx context.Context, src *source, p platform, output string) (*onePlatform, error) {
	bin, err := compile(ctx, src, p)
	if err != nil {
		return nil, err
	}
	sbom, err := bin.sbom(src, p)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(output, fmt.Sprintf("kube-vmap-%s-%s-%s.spdx.json", src.Version, p.OS, p.Architecture))
	if err := os.WriteFile(path, sbom, 0o644); err != nil {
		return nil, fmt.Errorf("write the bill of materials: %w", err)
	}
	files, err := licenses(ctx, src, p)
	if err != nil {
		return nil, err
	}
	files = append(files,
		file{Path: "kube-vmap", Mode: 0o755, Data: bin.Data},
		file{Path: "usr/share/sbom/kube-vmap.spdx.json", Mode: 0o644, Data: sbom},
		file{Path: "etc/passwd", Mode: 0o644, Data: []byte(passwd)},
		file{Path: "etc/group", Mode: 0o644, Data: []byte(group)},
	)
	l, err := newLayer(files, src.Created)
	return &onePlatform{layer: l, sbom: path}, err
}

// Names for the ids that show up in listings.
const (
	passwd = "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	group  = "root:x:0:\nnobody:x:65534:\n"
)

func (r *result) print(w *os.File) {
	fmt.Fprintf(w, "%s\n  image   %s\n  digest  %s\n", r.Archive, r.Reference, r.Digest)
	for _, p := range r.Platforms {
		fmt.Fprintf(w, "  %-11s  %s  %.1f MB\n", p.Platform, p.Digest, float64(p.Size)/1e6)
	}
	fmt.Fprintf(w, `
ctr -n k8s.io images import %[1]s
kind load image-archive %[1]s
docker load -i %[1]s
`, r.Archive)
}
