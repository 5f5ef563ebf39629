package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// errAlias says that a node refers to another, so that it can't be written down
// line by line.
var errAlias = errors.New("an alias")

// jsonOf writes a YAML node as JSON, for the decoder that API objects are made
// for. The text's lines are those of the YAML, line being that of its first, so
// that an offset in it tells the line in the file.
func jsonOf(n *yaml.Node, line int) ([]byte, error) {
	w := jsonWriter{line: line}
	err := w.value(n)
	if !errors.Is(err, errAlias) {
		return w.out.Bytes(), err
	}
	var v any // the YAML library follows aliases, and bounds what they may unfold to
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

type jsonWriter struct {
	out  bytes.Buffer
	line int
}

// lineError is what is wrong at a line of the YAML text.
type lineError struct {
	line int
	what string
}

func (e *lineError) Error() string { return e.what }

func (w *jsonWriter) value(n *yaml.Node) error {
	for ; w.line < n.Line; w.line++ {
		w.out.WriteByte('\n')
	}
	switch n.Kind {
	case yaml.MappingNode:
		return w.mapping(n)
	case yaml.SequenceNode:
		return w.sequence(n)
	case yaml.ScalarNode:
		return w.scalar(n)
	}
	return errAlias
}

func (w *jsonWriter) mapping(n *yaml.Node) error {
	w.out.WriteByte('{')
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return errAlias
		}
		if isRepeated(n.Content[:i], key.Value) {
			return &lineError{key.Line, fmt.Sprintf("the key %q stands there twice: remove one", key.Value)}
		}
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.string(key.Value)
		w.out.WriteByte(':')
		if err := w.value(n.Content[i+1]); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

// isRepeated reports whether the key is among those before it.
func isRepeated(before []*yaml.Node, key string) bool {
	for i := 0; i < len(before); i += 2 {
		if before[i].Value == key {
			return true
		}
	}
	return false
}

func (w *jsonWriter) sequence(n *yaml.Node) error {
	w.out.WriteByte('[')
	for i, entry := range n.Content {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(entry); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

func (w *jsonWriter) scalar(n *yaml.Node) error {
	switch n.Tag {
	case "!!null":
		w.out.WriteString("null")
	case "!!bool", "!!int", "!!float":
		return w.literal(n)
	default:
		w.string(n.Value)
	}
	return nil
}

// literal writes a number or a boolean, which YAML spells in more ways than JSON.
func (w *jsonWriter) literal(n *yaml.Node) error {
	if n.Value == "true" || n.Value == "false" || isInteger(n.Value) {
		w.out.WriteString(n.Value)
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return &lineError{n.Line, err.Error()}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return &lineError{n.Line, fmt.Sprintf("%s has no JSON form: correct it", n.Value)}
	}
	w.out.Write(text)
	return nil
}

// isInteger reports whether s is an integer as both YAML and JSON write it.
func isInteger(s string) bool {
	if len(s) == 0 || len(s) > 18 || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// string writes a string. Few need more than quotes.
func (w *jsonWriter) string(s string) {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a string always has a JSON form
			w.out.Write(text)
			return
		}
	}
	w.out.Write(strconv.AppendQuote(w.out.AvailableBuffer(), s))
}
