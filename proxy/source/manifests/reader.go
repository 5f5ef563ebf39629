package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	"go.yaml.in/yaml/v3"

	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

// reader reads files of manifests, one at a time. It holds no API object longer
// than it takes to convert it.
type reader struct {
	node    string // the name of the Node to take
	convert *convert.Converter
	log     logr.Logger
}

// reading is one file on its way to objects.
type reading struct {
	*reader
	path     string
	document int // the number of the document at hand; 1 is the first
	objects  []object
	errs     []error
	unknown  int // unknown fields seen
}

// read reads a file. After an error the file's objects are not to be used.
func (r *reader) read(path string, data []byte) ([]object, error) {
	in := &reading{reader: r, path: path}
	stream := chunk{lineFeeds(bytes.TrimPrefix(data, []byte("\ufeff"))), 1}
	if first := bytes.TrimLeft(stream.text, jsonSpace); len(first) > 0 && first[0] == '{' {
		in.json(stream)
	} else {
		in.yaml(stream)
	}
	return in.objects, in.failure()
}

// maxErrors bounds the errors that a file tells of: more help nobody.
const maxErrors = 20

func (in *reading) failure() error {
	if more := len(in.errs) - maxErrors; more > 0 {
		return errors.Join(append(in.errs[:maxErrors:maxErrors], fmt.Errorf("there are %d errors more", more))...)
	}
	return errors.Join(in.errs...)
}

// fail notes an error, at the line it tells or else at the one given.
func (in *reading) fail(line int, err error) {
	var at *lineError
	if errors.As(err, &at) {
		line = at.line
	}
	in.errs = append(in.errs, &Error{Path: in.path, Document: in.document, Line: line, Err: err})
}

// json reads a file of JSON. What begins like JSON and is not can still be YAML
// in its flow style, unless its name says otherwise.
func (in *reading) json(stream chunk) {
	for document, err := range jsonDocuments(stream) {
		in.document++
		if err == nil {
			in.jsonObject(document, kind{})
			continue
		}
		if in.isYAML(stream) {
			*in = reading{reader: in.reader, path: in.path}
			in.yaml(stream)
			return
		}
		in.fail(stream.line, err)
	}
}

func (in *reading) isYAML(stream chunk) bool {
	if strings.HasSuffix(in.path, ".json") {
		return false
	}
	for document := range documents(stream) {
		if _, err := parseYAML(document); err != nil {
			return false
		}
	}
	return true
}

func (in *reading) jsonObject(c chunk, unsaid kind) {
	if len(c.text) == 0 || c.text[0] != '{' {
		in.fail(c.line, errNoObject)
		return
	}
	var list chunk
	var k kind
	for name, value := range members(c) {
		switch name {
		case "apiVersion":
			k.apiVersion = unquote(value.text)
		case "kind":
			k.name = unquote(value.text)
		case "items":
			list = value
		}
	}
	if k = k.or(unsaid); !k.isList() {
		in.take(k, c)
		return
	}
	if len(list.text) == 0 || list.text[0] != '[' {
		return // null, or left out: an empty list
	}
	for entry := range elements(list) {
		in.jsonObject(entry, k.ofItems())
	}
}

func unquote(s []byte) string { return string(bytes.Trim(s, `"`)) }

// yaml reads a file of YAML.
func (in *reading) yaml(stream chunk) {
	for document := range documents(stream) {
		in.document++
		if !in.yamlList(document) {
			in.yamlDocument(document)
		}
	}
}

// lineFeeds makes carriage returns that stand alone line feeds: both end lines
// (YAML 1.2, 5.4) or are blanks (JSON), and what splits the text knows one of them.
func lineFeeds(text []byte) []byte {
	if bytes.Count(text, []byte{'\r'}) == bytes.Count(text, []byte("\r\n")) {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte{'\n'})
	return bytes.ReplaceAll(text, []byte{'\r'}, []byte{'\n'})
}

func (in *reading) yamlDocument(document chunk) {
	root, err := parseYAML(document)
	if err != nil {
		in.fail(document.line, err)
		return
	}
	in.yamlObject(root, kind{})
}

// yamlList reads a document that is a list, an entry at a time. It reports false,
// and nothing has happened, if the document must be read as a whole.
func (in *reading) yamlList(document chunk) bool {
	head, entries, ok := items(document)
	if !ok {
		return false
	}
	root, err := parseYAML(chunk{head, document.line})
	if err != nil || root.Kind != yaml.MappingNode {
		return false
	}
	k := kindOf(root)
	if !k.isList() || member(root, "items") != nil {
		return false
	}
	before := *in
	for _, entry := range entries {
		node, err := parseYAML(entry)
		if err != nil || node.Kind != yaml.SequenceNode || len(node.Content) != 1 {
			*in = before
			return false
		}
		in.yamlObject(node.Content[0], k.ofItems())
	}
	return true
}

func (in *reading) yamlObject(n *yaml.Node, unsaid kind) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		in.fail(n.Line, errNoObject)
		return
	}
	k := kindOf(n).or(unsaid)
	if !k.isList() {
		in.yamlTake(n, k)
		return
	}
	list := member(n, "items")
	if list == nil || list.Kind != yaml.SequenceNode {
		return // null, or left out: an empty list
	}
	for _, entry := range list.Content {
		in.yamlObject(entry, k.ofItems())
	}
}

func (in *reading) yamlTake(n *yaml.Node, k kind) {
	if !k.isKnown() {
		in.ignore(k, n.Line)
		return
	}
	text, err := jsonOf(n, n.Line)
	if err != nil {
		in.fail(n.Line, err)
		return
	}
	in.take(k, chunk{text, n.Line})
}

var errNoObject = errors.New("there is no object: write one with apiVersion and kind")
