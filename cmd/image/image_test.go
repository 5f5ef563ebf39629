package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// built is the image that most tests look at, made once, from a commit of what is
// in the working tree.
type built struct {
	checkout string // a repository with the commit
	output   string
}

const testTag = "v0.0.0-test"

var buildOnce = sync.OnceValues(func() (*built, error) {
	dir, err := os.MkdirTemp("", "kube-vmap-image-test-")
	if err != nil {
		return nil, err
	}
	buildDir = dir
	b := &built{checkout: filepath.Join(dir, "checkout"), output: filepath.Join(dir, "output")}
	if err := snapshot(b.checkout); err != nil {
		return nil, err
	}
	return b, buildIn(b.checkout, b.output)
})

// buildDir is what buildOnce leaves to be removed.
var buildDir string

func buildImage(t *testing.T) *built {
	t.Helper()
	b, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// snapshot commits a copy of the working tree's files to a new repository.
func snapshot(dir string) error {
	const script = `
		git -C ../.. ls-files -z --cached --others --exclude-standard |
			tar -C ../.. --null --files-from - --ignore-failed-read --create |
			tar -C "$1" --extract
		cd "$1"
		git init -q
		git add --all
		git -c user.name=test -c user.email=test@example.com commit -qm snapshot
		git tag ` + testTag
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, err := command(context.Background(), ".", nil, "sh", "-euc", script, "sh", dir)
	return err
}

// buildIn builds as `make image` does.
func buildIn(checkout, output string) error {
	_, err := command(context.Background(), checkout, nil, "go", "run", "./cmd/image", "--output", output)
	return err
}

// archive reads the image's archive, by path.
func (b *built) archive(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open(b.archivePath())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return untar(t, f)
}

func (b *built) archivePath() string { return filepath.Join(b.output, "kube-vmap-"+testTag+".tar") }

func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		if files[header.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

// blob decodes a blob, whose size and digest must be right.
func blob(t *testing.T, archive map[string][]byte, d v1.Descriptor, into any) {
	t.Helper()
	data := archive[blobPath(d.Digest)]
	if int64(len(data)) != d.Size || digest.FromBytes(data) != d.Digest {
		t.Fatalf("%s: not in the archive with %d bytes", d.Digest, d.Size)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", d.Digest, err)
	}
}

// images are the manifests of an archive, by platform.
func images(t *testing.T, archive map[string][]byte) map[string]v1.Manifest {
	t.Helper()
	var layout, index v1.Index
	if err := json.Unmarshal(archive["index.json"], &layout); err != nil {
		t.Fatal(err)
	}
	blob(t, archive, layout.Manifests[0], &index)
	found := map[string]v1.Manifest{}
	for _, d := range index.Manifests {
		var m v1.Manifest
		blob(t, archive, d, &m)
		found[d.Platform.OS+"/"+d.Platform.Architecture] = m
	}
	return found
}

// rootfs reads the only layer of an image and its configuration.
func rootfs(t *testing.T, archive map[string][]byte, m v1.Manifest) (map[string][]byte, v1.Image) {
	t.Helper()
	var config v1.Image
	blob(t, archive, m.Config, &config)
	if len(m.Layers) != 1 {
		t.Fatalf("%d layers", len(m.Layers))
	}
	blob(t, archive, m.Layers[0], nil)
	zr, err := gzip.NewReader(bytes.NewReader(archive[blobPath(m.Layers[0].Digest)]))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest.FromBytes(raw); !slices.Equal(config.RootFS.DiffIDs, []digest.Digest{got}) {
		t.Fatalf("diff ids %v, want %s", config.RootFS.DiffIDs, got)
	}
	return untar(t, bytes.NewReader(raw)), config
}

func TestArchiveHasBothPlatformsAndNoMore(t *testing.T) {
	b := buildImage(t)
	archive := b.archive(t)
	got := images(t, archive)
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		m, ok := got[p]
		if !ok {
			t.Fatalf("no image for %s", p)
		}
		files, config := rootfs(t, archive, m)
		if config.OS+"/"+config.Architecture != p {
			t.Errorf("image for %s says %s/%s", p, config.OS, config.Architecture)
		}
		for path := range files {
			if path != "kube-vmap" && path != "etc/passwd" && path != "etc/group" &&
				!strings.HasPrefix(path, "usr/share/licenses/") && !strings.HasPrefix(path, "usr/share/sbom/") {
				t.Errorf("%s holds /%s", p, path)
			}
		}
	}
	if len(got) != 2 {
		t.Errorf("%d platforms, want 2", len(got))
	}
}

func TestAnnotationsSayWhatItIs(t *testing.T) {
	b := buildImage(t)
	archive := b.archive(t)
	head, err := command(t.Context(), b.checkout, nil, "git", "rev-parse", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for p, m := range images(t, archive) {
		_, config := rootfs(t, archive, m)
		for key, want := range map[string]string{
			v1.AnnotationVersion: testTag, v1.AnnotationRevision: head,
			v1.AnnotationSource: homepage, v1.AnnotationLicenses: "Apache-2.0",
		} {
			if m.Annotations[key] != want || config.Config.Labels[key] != want {
				t.Errorf("%s: %s: annotation %q, label %q, want %q", p, key, m.Annotations[key], config.Config.Labels[key], want)
			}
		}
	}
}

// Docker without the containerd image store reads manifest.json and nothing else.
func TestDockerFindsAnImageForEachPlatform(t *testing.T) {
	archive := buildImage(t).archive(t)
	var list []dockerImage
	if err := json.Unmarshal(archive["manifest.json"], &list); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, i := range list {
		var config v1.Image
		if err := json.Unmarshal(archive[i.Config], &config); err != nil {
			t.Fatalf("%s: %v", i.Config, err)
		}
		for _, l := range i.Layers {
			if archive[l] == nil {
				t.Errorf("%s: layer %s is missing", i.RepoTags, l)
			}
		}
		got[config.Architecture] = i.RepoTags
	}
	const name = "ghcr.io/kube-vmap/kube-vmap:" + testTag
	want := map[string][]string{"amd64": {name + "-amd64", name}, "arm64": {name + "-arm64"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBillOfMaterialsNamesEveryModule(t *testing.T) {
	b := buildImage(t)
	archive := b.archive(t)
	for p, m := range images(t, archive) {
		files, _ := rootfs(t, archive, m)
		inside := files["usr/share/sbom/kube-vmap.spdx.json"]
		beside, err := os.ReadFile(filepath.Join(b.output, "kube-vmap-"+testTag+"-"+strings.ReplaceAll(p, "/", "-")+".spdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(inside, beside) {
			t.Errorf("%s: the bills inside and beside the image differ", p)
		}
		var doc spdxDocument
		if err := json.Unmarshal(inside, &doc); err != nil {
			t.Fatal(err)
		}
		listed := map[string]bool{}
		for _, pkg := range doc.Packages {
			listed[pkg.ExternalRefs[0].Locator] = true
		}
		for _, want := range linked(t, files["kube-vmap"]) {
			if !listed["pkg:golang/"+want] {
				t.Errorf("%s: %s is not listed", p, want)
			}
			module, _, _ := strings.Cut(want, "@")
			if !slices.ContainsFunc(paths(files), func(path string) bool {
				return strings.HasPrefix(path, "usr/share/licenses/"+module+"/")
			}) {
				t.Errorf("%s: the license of %s is missing", p, module)
			}
		}
	}
}

// linked asks Go which modules are in a binary, as module@version.
func linked(t *testing.T, binary []byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kube-vmap")
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "version", "-m", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			modules = append(modules, f[1]+"@"+f[2])
		}
	}
	if len(modules) == 0 {
		t.Fatalf("no modules in\n%s", out)
	}
	return modules
}

func paths(files map[string][]byte) []string {
	var list []string
	for path := range files {
		list = append(list, path)
	}
	return list
}

// A second clone, in another place, at another time.
func TestSameCommitGivesSameBytes(t *testing.T) {
	b := buildImage(t)
	clone := filepath.Join(t.TempDir(), "somewhere", "else")
	if _, err := command(t.Context(), ".", nil, "git", "clone", "-q", b.checkout, clone); err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := buildIn(clone, again); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.output)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		first, err1 := os.ReadFile(filepath.Join(b.output, e.Name()))
		second, err2 := os.ReadFile(filepath.Join(again, e.Name()))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s differs: %s, %s", e.Name(), digest.FromBytes(first), digest.FromBytes(second))
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files, want an archive and two bills of materials", len(entries))
	}
}
