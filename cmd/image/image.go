package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is a multi-platform image in the making: the blobs of an OCI image layout
// (OCI image spec 1.1, image-layout.md).
type image struct {
	Name, Tag string

	blobs     []file
	manifests []v1.Descriptor // one for each platform
	docker    []dockerImage
	index     v1.Descriptor
}

// dockerImage is an entry of manifest.json, which "docker load" reads where
// Docker does not keep its images in containerd.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// containerdName is the annotation that tells containerd and Docker the full name
// of an image in an archive.
const containerdName = "io.containerd.image.name"

func (img *image) reference() string { return img.Name + ":" + img.Tag }

// add adds the image of one platform and returns its manifest's descriptor.
func (img *image) add(src *source, p platform, l layer) v1.Descriptor {
	layerBlob := img.blob(v1.MediaTypeImageLayerGzip, l.Compressed)
	configBlob := img.blob(v1.MediaTypeImageConfig, encode(imageConfig(src, p, l)))
	manifest := img.blob(v1.MediaTypeImageManifest, encode(v1.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageManifest,
		Config:      configBlob,
		Layers:      []v1.Descriptor{layerBlob},
		Annotations: annotations(src),
	}))
	manifest.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.variant()}

	tags := []string{img.reference() + "-" + p.Architecture}
	if len(img.manifests) == 0 {
		tags = append(tags, img.reference())
	}
	img.docker = append(img.docker, dockerImage{Config: blobPath(configBlob.Digest), RepoTags: tags, Layers: []string{blobPath(layerBlob.Digest)}})
	img.manifests = append(img.manifests, manifest)
	return manifest
}

// finish makes the index over all platforms and returns its digest.
func (img *image) finish(src *source) digest.Digest {
	img.index = img.blob(v1.MediaTypeImageIndex, encode(v1.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageIndex,
		Manifests:   img.manifests,
		Annotations: annotations(src),
	}))
	img.index.Annotations = map[string]string{containerdName: img.reference(), v1.AnnotationRefName: img.Tag}
	return img.index.Digest
}

// writeFile writes the archive: an OCI image layout, with Docker's manifest.json.
func (img *image) writeFile(path string, modified time.Time) error {
	files := append([]file{
		{Path: v1.ImageLayoutFile, Data: encode(v1.ImageLayout{Version: v1.ImageLayoutVersion})},
		{Path: v1.ImageIndexFile, Data: encode(v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: v1.MediaTypeImageIndex,
			Manifests: []v1.Descriptor{img.index},
		})},
		{Path: "manifest.json", Data: encode(img.docker)},
	}, img.blobs...)
	for i := range files {
		files[i].Mode = 0o644
	}
	var buf bytes.Buffer
	if err := writeTar(&buf, files, modified); err != nil {
		return err
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// blob keeps content under its digest, once.
func (img *image) blob(mediaType string, data []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	for _, b := range img.blobs {
		if b.Path == blobPath(d.Digest) {
			return d
		}
	}
	img.blobs = append(img.blobs, file{Path: blobPath(d.Digest), Data: data})
	return d
}

func blobPath(d digest.Digest) string {
	return v1.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// imageConfig says how to run the image. The agent runs as root, without most of
// root's capabilities: Kubernetes has no way yet to give one to another user.
func imageConfig(src *source, p platform, l layer) v1.Image {
	return v1.Image{
		Created:  &src.Created,
		Platform: v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.variant()},
		Config: v1.ImageConfig{
			User:       "0:0",
			Env:        []string{"PATH=/"}, // so that `kubectl exec ... -- kube-vmap services` finds it
			Entrypoint: []string{"/kube-vmap"},
			WorkingDir: "/",
			Labels:     annotations(src),
		},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{l.DiffID}},
		History: []v1.History{{Created: &src.Created, CreatedBy: "go run ./cmd/image", Comment: "kube-vmap " + src.Version}},
	}
}

const (
	homepage = "https://github.com/kube-vmap/kube-vmap"
	license  = "Apache-2.0"
)

// annotations are the OCI's predefined ones; Docker shows the same as labels.
func annotations(src *source) map[string]string {
	return map[string]string{
		v1.AnnotationTitle:         "kube-vmap",
		v1.AnnotationDescription:   "A Kubernetes Service proxy on one nftables table",
		v1.AnnotationVersion:       src.Version,
		v1.AnnotationRevision:      src.Revision,
		v1.AnnotationCreated:       src.Created.Format(time.RFC3339),
		v1.AnnotationSource:        homepage,
		v1.AnnotationURL:           homepage,
		v1.AnnotationDocumentation: homepage + "/tree/" + src.Revision + "/docs",
		v1.AnnotationLicenses:      license,
	}
}

// encode encodes a value whose types all encode: the keys of maps sorted, so
// always to the same bytes.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return data
}
