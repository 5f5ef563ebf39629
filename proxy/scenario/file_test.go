package scenario

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden sections")

// scenario is one file.
type scenario struct {
	name    string
	path    string
	archive *txtar.Archive
	config  config
	steps   []*step
}

// step is what happens together: the first one is the beginning.
type step struct {
	number  int
	net     []netCommand
	objects []object
	deleted []object
	packets []packet
}

// section is what a txtar file of a scenario holds. They stand in this order.
type section string

const (
	configSection       section = "config"
	netSection          section = "net"
	objectsSection      section = "objects"
	deleteSection       section = "delete"
	elementsSection     section = "elements"
	eventsSection       section = "events"
	transactionsSection section = "transactions"
	packetsSection      section = "packets"
)

var sections = []section{
	configSection, netSection, objectsSection, deleteSection,
	elementsSection, transactionsSection, eventsSection, packetsSection,
}

// fileName is the section's name in the archive.
func (s section) fileName(step int) string {
	if step == 1 {
		return string(s)
	}
	return fmt.Sprintf("step %d: %s", step, s)
}

var stepName = regexp.MustCompile(`^step ([2-9]|[1-9][0-9]+): (.*)$`)

// parseSection is the inverse of fileName.
func parseSection(name string) (step int, s section, err error) {
	step, s = 1, section(name)
	if m := stepName.FindStringSubmatch(name); m != nil {
		step, _ = strconv.Atoi(m[1])
		s = section(m[2])
	}
	atStart := s == configSection || s == elementsSection
	later := s == deleteSection || s == transactionsSection
	if !slices.Contains(sections, s) || atStart && step != 1 || later && step == 1 {
		return 0, "", fmt.Errorf("section %q is unknown: see the package's documentation", name)
	}
	return step, s, nil
}

// loadScenarios reads all files.
func loadScenarios(t *testing.T) []*scenario {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("find scenarios: %d files, %v", len(paths), err)
	}
	var all []*scenario
	for _, path := range paths {
		s, err := loadScenario(path)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		all = append(all, s)
	}
	return all
}

func loadScenario(path string) (*scenario, error) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	s := &scenario{
		name: strings.TrimSuffix(filepath.Base(path), ".txtar"),
		path: path, archive: archive, config: defaultConfig(),
	}
	if len(bytes.TrimSpace(archive.Comment)) == 0 {
		return nil, fmt.Errorf("there is no text at the beginning: say what happens and why")
	}
	for i := range archive.Files {
		if err := s.read(&archive.Files[i]); err != nil {
			return nil, fmt.Errorf("section %q: %w", archive.Files[i].Name, err)
		}
	}
	return s, nil
}

// read takes one section in. Goldens are looked up when they are compared.
func (s *scenario) read(f *txtar.File) error {
	number, sec, err := parseSection(f.Name)
	if err != nil {
		return err
	}
	if number > len(s.steps) {
		if number != len(s.steps)+1 {
			return fmt.Errorf("step %d comes after step %d", number, len(s.steps))
		}
		s.steps = append(s.steps, &step{number: number})
	}
	if number < len(s.steps) {
		return fmt.Errorf("step %d comes after step %d", number, len(s.steps))
	}
	step := s.steps[number-1]
	switch sec {
	case configSection:
		err = s.config.parse(f.Data)
	case netSection:
		step.net, err = parseLines(f.Data, parseNetCommand)
	case objectsSection:
		step.objects, err = parseObjects(f.Data)
	case deleteSection:
		step.deleted, err = parseLines(f.Data, parseDeletion)
	case packetsSection:
		step.packets, err = parseLines(f.Data, parsePacket)
	}
	return err
}

// parseLines parses each line but empty ones and comments.
func parseLines[T any](data []byte, parse func(line string) (T, error)) ([]T, error) {
	var list []T
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// golden compares a text with its section, or writes it there. An empty text
// has no section.
func (s *scenario) golden(t *testing.T, step int, sec section, got string) {
	t.Helper()
	name := sec.fileName(step)
	at := slices.IndexFunc(s.archive.Files, func(f txtar.File) bool { return f.Name == name })
	if *update {
		s.replace(at, step, sec, got)
		return
	}
	want := ""
	if at >= 0 {
		want = string(s.archive.Files[at].Data)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s: section %q (-want +got), -update rewrites it:\n%s", s.path, name, diff)
	}
}

// replace puts a section's text where it stands or belongs.
func (s *scenario) replace(at, step int, sec section, text string) {
	switch {
	case at >= 0 && text != "":
		s.archive.Files[at].Data = []byte(text)
	case at >= 0:
		s.archive.Files = slices.Delete(s.archive.Files, at, at+1)
	case text != "":
		at = slices.IndexFunc(s.archive.Files, func(f txtar.File) bool {
			number, other, err := parseSection(f.Name)
			return err == nil && (number > step || number == step && slices.Index(sections, other) > slices.Index(sections, sec))
		})
		if at < 0 {
			at = len(s.archive.Files)
		}
		s.archive.Files = slices.Insert(s.archive.Files, at, txtar.File{Name: sec.fileName(step), Data: []byte(text)})
	}
}

// save writes the file after an update.
func (s *scenario) save(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	text := txtar.Format(s.archive)
	if old, err := os.ReadFile(s.path); err == nil && bytes.Equal(old, text) {
		return
	}
	if err := os.WriteFile(s.path, text, 0o644); err != nil {
		t.Errorf("write golden: %v", err)
	}
}
