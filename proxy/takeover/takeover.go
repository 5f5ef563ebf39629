package takeover

import (
	"errors"
	"fmt"
)

// Options of Clean.
type Options struct {
	// DryRun finds and tells everything, and changes nothing.
	DryRun bool
	// Tell is called for each thing that was found, after it was removed.
	Tell func(Finding)
}

// Outcome is what became of a thing that was found.
type Outcome uint8

// The outcomes.
const (
	Removed Outcome = iota
	Found           // in a dry run: it would be removed
	Kept            // the reason says why
	Warning         // a consequence that the reason describes
)

func (o Outcome) String() string {
	switch o {
	case Removed:
		return "removed"
	case Found:
		return "would remove"
	case Kept:
		return "kept"
	case Warning:
		return "warning"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Finding is one thing that kube-proxy left. Names of chains and sets come from
// the kernel: String has them quoted if they have bytes that could mislead.
type Finding struct {
	Outcome Outcome
	Object  string
	Reason  string // empty if removed or found
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s %s", f.Outcome, f.Object)
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return s
}

// Clean removes kube-proxy's leftovers. What can't be removed does not keep it
// from the rest; the error then has them all, each with its name. It needs
// CAP_NET_ADMIN, and kube-proxy should not be running, as it writes its rules again.
// Clean is idempotent.
func Clean(o Options) error {
	c := &cleaner{Options: o}
	return errors.Join(
		c.cleanNFTables(),
		c.cleanLegacy(),
		c.cleanIPVS(),
		c.cleanIPSets(), // rules refer to them
		c.cleanCounters(),
	)
}

type cleaner struct{ Options }

// removed tells of a thing that was removed, or would be.
func (c *cleaner) removed(format string, a ...any) {
	outcome := Removed
	if c.DryRun {
		outcome = Found
	}
	c.Tell(Finding{Outcome: outcome, Object: fmt.Sprintf(format, a...)})
}

// attempts is how often a change is tried that collides with another writer's.
const attempts = 10

// errChanged means that what was read is not what is there any more.
var errChanged = errors.New("it was changed meanwhile")

// retry calls f until it doesn't collide with another writer.
func retry(f func() error) error {
	var err error
	for range attempts {
		if err = f(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return fmt.Errorf("%w, %d times in a row: stop kube-proxy first if it is still running", err, attempts)
}
