package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
)

// jsonDocuments yields the values of a file of JSON, one after the other, each
// valid. The error is a lineError.
func jsonDocuments(stream chunk) iter.Seq2[chunk, error] {
	return func(yield func(chunk, error) bool) {
		dec := json.NewDecoder(bytes.NewReader(stream.text))
		for {
			var raw json.RawMessage
			err := dec.Decode(&raw)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(chunk{}, jsonError(stream, err, dec.InputOffset()))
				return
			}
			end := int(dec.InputOffset())
			if !yield(stream.part(end-len(raw), end), nil) {
				return
			}
		}
	}
}

// jsonError adds the line to an error that decoding stream had: where it says, or
// else at the offset.
func jsonError(stream chunk, err error, at int64) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = syntax.Offset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		at, err = int64(len(stream.text)), errors.New("the file ends within an object")
	}
	return &lineError{stream.lineAt(at), err.Error()}
}

// part is a piece of the chunk, between two offsets.
func (c chunk) part(from, to int) chunk {
	return chunk{c.text[from:to], c.lineAt(int64(from))}
}

// lineAt is the number of the line that holds the offset.
func (c chunk) lineAt(at int64) int {
	at = max(0, min(at, int64(len(c.text))))
	return c.line + bytes.Count(c.text[:at], []byte{'\n'})
}

// members yields the names of a JSON object and their values; name is as it is
// written, without the quotes. The text is valid JSON.
func members(object chunk) iter.Seq2[string, chunk] {
	return func(yield func(string, chunk) bool) {
		w := jsonWalk{chunk: object, at: 1}
		for w.more() {
			name := w.value()
			w.skip(":")
			if !yield(string(name.text[1:len(name.text)-1]), w.value()) {
				return
			}
		}
	}
}

// elements yields the values of a JSON array. The text is valid JSON.
func elements(array chunk) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		w := jsonWalk{chunk: array, at: 1}
		for w.more() {
			if !yield(w.value()) {
				return
			}
		}
	}
}

// jsonWalk goes over the values within an object or array of valid JSON, and
// counts the lines it passes.
type jsonWalk struct {
	chunk
	at int
}

const jsonSpace = " \t\r\n"

// skip passes over the bytes of the set, and over blanks.
func (w *jsonWalk) skip(set string) {
	for ; w.at < len(w.text); w.at++ {
		c := w.text[w.at]
		if c == '\n' {
			w.line++
		}
		if !contains(set, c) && !contains(jsonSpace, c) {
			return
		}
	}
}

// more goes to the next value, and reports whether there is one.
func (w *jsonWalk) more() bool {
	w.skip(",")
	return w.at < len(w.text) && !contains("]}", w.text[w.at])
}

// value passes over the value here.
func (w *jsonWalk) value() chunk {
	w.skip("")
	from, line, depth := w.at, w.line, 0
	for w.at < len(w.text) {
		c := w.text[w.at]
		switch {
		case depth == 0 && w.at > from && contains(",:]}"+jsonSpace, c):
			return chunk{w.text[from:w.at], line} // the end of a number or word
		case c == '\n':
			w.line++
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == '"':
			w.string()
		}
		w.at++
		if depth == 0 && contains(`}]"`, c) {
			break
		}
	}
	return chunk{w.text[from:w.at], line}
}

// string goes from the quote that opens a string to the one that closes it.
func (w *jsonWalk) string() {
	for w.at++; w.at < len(w.text) && w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
}

func contains(set string, c byte) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}
