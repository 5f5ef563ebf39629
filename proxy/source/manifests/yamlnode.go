package manifests

import (
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads a chunk that is one YAML document. The lines of its nodes are
// those of the file, and the error is a lineError.
func parseYAML(c chunk) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(c.text, &document); err != nil {
		return nil, yamlError(c, err)
	}
	if len(document.Content) == 0 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: c.line}, nil
	}
	root := document.Content[0]
	addLines(root, c.line-1)
	return root, nil
}

func addLines(n *yaml.Node, lines int) {
	if lines == 0 {
		return
	}
	n.Line += lines
	for _, child := range n.Content {
		addLines(child, lines)
	}
}

// yamlLine is where the YAML library has the line in its errors.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlError moves the line that err tells into a lineError.
func yamlError(c chunk, err error) error {
	text := err.Error()
	found := yamlLine.FindStringSubmatch(text)
	if found == nil {
		return &lineError{c.line, text}
	}
	line, err := strconv.Atoi(found[1])
	if err != nil {
		line = 1
	}
	return &lineError{c.line + line - 1, "it is not YAML: " + text[len(found[0]):]}
}

// member is the value of a key of a mapping, nil if there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i+1]
		}
	}
	return nil
}
