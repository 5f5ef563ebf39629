package proxy

import (
	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Dataplane is what the loop needs of the kernel; *kernel.Conn is it. One
// goroutine uses it.
type Dataplane interface {
	// Commit applies a transaction as a whole or not at all. An error that is
	// kernel.ErrUncertain leaves open which.
	Commit(*nft.Transaction) (kernel.Result, error)
	// ReadStructure reads a table with the elements of the named sets.
	ReadStructure(table string, withElements func(set string) bool) (kernel.Snapshot, error)
	// ReadSet reads the elements of a set. It fails with kernel.ErrInterrupted if
	// a transaction came between.
	ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (generation uint32, err error)
}

var _ Dataplane = (*kernel.Conn)(nil)

// adopt makes the tracker begin from the kernel's table. It reads again while
// others write.
func adopt(dp Dataplane, t *ruleset.Tracker) error {
	const tries = 100 // each is a moment in which another program wrote
	var err error
	for range tries {
		var whole bool
		if whole, err = tryAdopt(dp, t); whole || err != nil {
			return err
		}
	}
	return kernel.ErrInterrupted
}

// tryAdopt reads once. whole is false if the table changed meanwhile.
func tryAdopt(dp Dataplane, t *ruleset.Tracker) (whole bool, err error) {
	table := t.Options().Table
	snapshot, err := dp.ReadStructure(table, ruleset.IsFixed)
	if err != nil {
		return false, err
	}
	t.Adopt(snapshot.Table)
	if snapshot.Table == nil {
		return true, nil
	}
	for _, set := range t.SetsToRead() {
		generation, err := dp.ReadSet(table, set, func(e *nft.Element) error {
			t.Read(set.Name, e)
			return nil
		})
		switch {
		case isInterrupted(err) || err == nil && generation != snapshot.Generation:
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}
