package e2e

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// area is what became of the specs of a container at the top.
type area struct {
	name                    string
	passed, failed, skipped int
	took                    time.Duration
}

var _ = ReportAfterSuite("areas", func(report Report) {
	writeAreas(os.Stdout, areasOf(report))
	writeLeftOut(os.Stdout, report)
	if !failed {
		return
	}
	if dir, err := artifacts(); err == nil {
		fmt.Println("What explains the failures is in", dir)
	}
})

// areasOf sums up by container, in the order of the run. Specs that a filter
// excluded don't count.
func areasOf(report Report) (areas []*area) {
	byName := map[string]*area{}
	for _, spec := range report.SpecReports {
		if !spec.LeafNodeType.Is(types.NodeTypeIt) || excluded(spec) {
			continue
		}
		name := spec.ContainerHierarchyTexts[0]
		a := byName[name]
		if a == nil {
			a = &area{name: name}
			byName[name], areas = a, append(areas, a)
		}
		a.took += spec.RunTime
		switch {
		case spec.State.Is(types.SpecStatePassed):
			a.passed++
		case spec.State.Is(types.SpecStateSkipped | types.SpecStatePending):
			a.skipped++
		default:
			a.failed++
		}
	}
	return areas
}

// excluded says that a filter left a spec out, rather than the spec itself.
func excluded(spec SpecReport) bool {
	return spec.State.Is(types.SpecStateSkipped) && spec.Failure.Message == ""
}

func writeAreas(w io.Writer, areas []*area) {
	var total area
	fmt.Fprintln(w)
	for _, a := range areas {
		fmt.Fprintln(w, a)
		total.passed += a.passed
		total.failed += a.failed
		total.skipped += a.skipped
		total.took += a.took
	}
	total.name = fmt.Sprintf("%d specs in %d areas", total.passed+total.failed+total.skipped, len(areas))
	fmt.Fprintln(w, &total)
}

// writeLeftOut tells why specs were left out, and how many for each reason.
func writeLeftOut(w io.Writer, report Report) {
	reasons := map[string]int{}
	for _, spec := range report.SpecReports {
		if spec.State.Is(types.SpecStateSkipped) && !excluded(spec) {
			reasons[spec.Failure.Message]++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(w, "%3d %s\n", reasons[reason], reason)
	}
}

func (a *area) String() string {
	s := fmt.Sprintf("%-40s %3d passed  %3d failed", a.name, a.passed, a.failed)
	if a.skipped > 0 {
		s += fmt.Sprintf("  %3d left out", a.skipped)
	}
	return fmt.Sprintf("%s  %6.1f s", s, a.took.Seconds())
}
