package manifests

import (
	"bytes"
	"iter"
)

// chunk is a piece of a file that is read by itself.
type chunk struct {
	text []byte
	line int // of the file, of the text's first line; 1 is the first
}

// lines yields the lines of a chunk with their ends, and the number in the file
// and the offset in the chunk of each.
func (c chunk) lines() iter.Seq2[chunk, int] {
	return func(yield func(chunk, int) bool) {
		for at, n := 0, c.line; at < len(c.text); n++ {
			end := len(c.text)
			if i := bytes.IndexByte(c.text[at:], '\n'); i >= 0 {
				end = at + i + 1
			}
			if !yield(chunk{c.text[at:end], n}, at) {
				return
			}
			at = end
		}
	}
}

// documents yields the documents of a YAML stream, without empty ones. A marker
// in the first column separates documents wherever it stands (YAML 1.2, 9.1), so
// this needs no knowledge of what is between.
func documents(stream chunk) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		from, first, content := 0, stream.line, false
		for line, at := range stream.lines() {
			begins, ends := isMarker(line.text, "---"), isMarker(line.text, "...")
			if !begins && !ends {
				content = content || isContent(line.text) && line.text[0] != '%'
				continue
			}
			if content && !yield(chunk{stream.text[from:at], first}) {
				return
			}
			if ends {
				from, first = at+len(line.text), line.line+1
			} else if content {
				from, first = at, line.line
			}
			content = begins && isContent(line.text[len("---"):])
		}
		if content {
			yield(chunk{stream.text[from:], first})
		}
	}
}

// isMarker reports whether the line begins with the marker and then has nothing or
// a blank.
func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	rest := line[len(marker):]
	return len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0
}

// isContent reports whether the line holds more than blanks and a comment.
func isContent(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) > 0 && line[0] != '#'
}

// items splits a document that has the top-level key "items" with a block
// sequence: into the sequence's entries, each a sequence of one, and the document
// without them. A list as 'kubectl get -o yaml' prints it can have a hundred
// thousand entries, which are then in memory one by one.
//
// It looks at indentation only, so the pieces may turn out not to be YAML, or to
// refer to each other by anchors: then the document must be read as a whole.
func items(document chunk) (head []byte, entries []chunk, ok bool) {
	const outside, expecting = -2, -1 // no sequence; its first entry must be next
	indent, tail := outside, 0
	for line, at := range document.lines() {
		if indent == outside {
			if isItemsKey(line.text) && entries == nil {
				indent = expecting
				head = append(head, document.text[tail:at]...)
			}
			continue
		}
		if !isContent(line.text) {
			continue
		}
		depth, dash := entryAt(line.text)
		if indent == expecting && dash {
			indent = depth
		}
		if indent >= 0 && depth > indent {
			continue
		}
		if indent >= 0 && depth == indent && dash {
			entries = closeEntry(document, entries, at)
			entries = append(entries, chunk{document.text[at:], line.line})
			continue
		}
		entries = closeEntry(document, entries, at)
		indent, tail = outside, at
	}
	if entries == nil {
		return nil, nil, false
	}
	if indent == outside {
		head = append(head, document.text[tail:]...)
	}
	return head, entries, true
}

// closeEntry ends the last entry, if there is one that runs on, where the
// document has the offset at.
func closeEntry(document chunk, entries []chunk, at int) []chunk {
	if len(entries) > 0 {
		last := &entries[len(entries)-1]
		last.text = last.text[:len(last.text)-(len(document.text)-at)]
	}
	return entries
}

func isItemsKey(line []byte) bool {
	const key = "items:"
	return isMarker(line, key) && !isContent(line[len(key):])
}

// entryAt is the line's indentation, and whether an entry of a sequence begins there.
func entryAt(line []byte) (depth int, dash bool) {
	rest := bytes.TrimLeft(line, " ")
	return len(line) - len(rest), isMarker(rest, "-")
}
