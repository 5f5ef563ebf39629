package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// A bill of materials in SPDX 2.3 (spdx.github.io/spdx-spec/v2.3), as JSON: the
// fields that are used.
type (
	spdxDocument struct {
		Version           string             `json:"spdxVersion"`
		DataLicense       string             `json:"dataLicense"`
		ID                string             `json:"SPDXID"`
		Name              string             `json:"name"`
		DocumentNamespace string             `json:"documentNamespace"`
		CreationInfo      spdxCreation       `json:"creationInfo"`
		Packages          []spdxPackage      `json:"packages"`
		Relationships     []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID               string         `json:"SPDXID"`
		Name             string         `json:"name"`
		Version          string         `json:"versionInfo"`
		Purpose          string         `json:"primaryPackagePurpose"`
		DownloadLocation string         `json:"downloadLocation"`
		FilesAnalyzed    bool           `json:"filesAnalyzed"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		LicenseConcluded string         `json:"licenseConcluded"`
		Copyright        string         `json:"copyrightText"`
		SourceInfo       string         `json:"sourceInfo,omitempty"`
		Checksums        []spdxChecksum `json:"checksums,omitempty"`
		ExternalRefs     []spdxRef      `json:"externalRefs"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const (
	spdxDocumentID = "SPDXRef-DOCUMENT"
	spdxAgentID    = "SPDXRef-kube-vmap"
	spdxUnknown    = "NOASSERTION"
)

// sbom lists what the binary is made of, from what Go's linker wrote into it.
func (b *binary) sbom(src *source, p platform) ([]byte, error) {
	sum := sha256.Sum256(b.Data)
	agent := newPackage(spdxAgentID, b.Info.Main.Path, src.Version, "APPLICATION")
	agent.LicenseDeclared, agent.LicenseConcluded = license, license
	agent.SourceInfo = fmt.Sprintf("commit %s, for %s", src.Revision, p)
	agent.Checksums = []spdxChecksum{{"SHA256", hex.EncodeToString(sum[:])}}
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: spdxDocumentID,
		Name: fmt.Sprintf("kube-vmap %s %s", src.Version, p),
		// Unique to the binary, and the same whenever it is built again.
		DocumentNamespace: fmt.Sprintf("%s/spdx/%s-%s", homepage, src.Version, hex.EncodeToString(sum[:16])),
		CreationInfo:      spdxCreation{Created: src.Created.Format(time.RFC3339), Creators: []string{"Organization: kube-vmap", "Tool: kube-vmap-image-" + src.Version}},
		Packages:          []spdxPackage{agent, newPackage("SPDXRef-stdlib", "stdlib", strings.TrimPrefix(b.Info.GoVersion, "go"), "LIBRARY")},
	}
	for i, module := range b.Info.Deps {
		pkg, err := modulePackage(fmt.Sprintf("SPDXRef-module-%d", i+1), module)
		if err != nil {
			return nil, err
		}
		doc.Packages = append(doc.Packages, pkg)
	}
	doc.Relationships = append(doc.Relationships, spdxRelationship{spdxDocumentID, "DESCRIBES", spdxAgentID})
	for _, pkg := range doc.Packages[1:] {
		doc.Relationships = append(doc.Relationships, spdxRelationship{spdxAgentID, "DEPENDS_ON", pkg.ID})
	}
	data, err := json.MarshalIndent(doc, "", " ")
	return append(data, '\n'), err
}

// newPackage is a package with the URL that scanners look vulnerabilities up by
// (github.com/package-url/purl-spec, type golang).
func newPackage(id, name, version, purpose string) spdxPackage {
	return spdxPackage{
		ID: id, Name: name, Version: version, Purpose: purpose,
		DownloadLocation: spdxUnknown, LicenseDeclared: spdxUnknown, LicenseConcluded: spdxUnknown, Copyright: spdxUnknown,
		ExternalRefs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + name + "@" + version}},
	}
}

// modulePackage is a module, or what stands in its place.
func modulePackage(id string, m *debug.Module) (spdxPackage, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	pkg := newPackage(id, m.Path, m.Version, "LIBRARY")
	sum, ok := strings.CutPrefix(m.Sum, "h1:")
	if !ok {
		return pkg, fmt.Errorf("list module %s %s: it has no checksum", m.Path, m.Version)
	}
	raw, err := base64.StdEncoding.DecodeString(sum)
	if err != nil {
		return pkg, fmt.Errorf("list module %s %s: read its checksum: %w", m.Path, m.Version, err)
	}
	pkg.Checksums = []spdxChecksum{{"SHA256", hex.EncodeToString(raw)}}
	pkg.SourceInfo = "the checksum is that of go.sum, over the module's files (golang.org/x/mod/sumdb/dirhash)"
	return pkg, nil
}
