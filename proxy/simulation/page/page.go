// Package page writes measured sections into a page that people write.
package page

import (
	"fmt"
	"os"
	"strings"
)

// ReplaceSection writes text between the marks <!-- begin: NAME --> and
// <!-- end: NAME --> of a page.
func ReplaceSection(path, name, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->"
	before, rest, ok1 := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("write page %s: it lacks %q or %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644)
}
