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

// adopted is what was read of the table besides what the tracker knows.
type adopted struct {
	generation uint32
	elements   map[string]int // of each set, how many
}

// adopt makes the tracker begin from the kernel's table. It reads again while
// others write.
func adopt(dp Dataplane, t *ruleset.Tracker) (a adopted, err error) {
	const tries = 100 // each is a moment in which another program wrote
	for range tries {
		var whole bool
		if a, whole, err = tryAdopt(dp, t, func(*nft.Set, *nft.Element) {}); whole || err != nil {
			return a, err
		}
	}
	return a, kernel.ErrInterrupted
}

// tryAdopt reads once, and gives each element to visit as well. whole is false if
// the table changed meanwhile.
func tryAdopt(dp Dataplane, t *ruleset.Tracker, visit func(*nft.Set, *nft.Element)) (a adopted, whole bool, err error) {
	table := t.Options().Table
	snapshot, err := dp.ReadStructure(table, ruleset.IsFixed)
	if err != nil {
		return a, false, err
	}
	t.Adopt(snapshot.Table)
	a = adopted{generation: snapshot.Generation, elements: map[string]int{}}
	if snapshot.Table == nil {
		return a, true, nil
	}
	for _, set := range t.SetsToRead() {
		generation, err := dp.ReadSet(table, set, func(e *nft.Element) error {
			t.Read(set.Name, e)
			visit(set, e)
			a.elements[set.Name]++
			return nil
		})
		switch {
		case isInterrupted(err) || err == nil && generation != snapshot.Generation:
			return a, false, nil
		case err != nil:
			return a, false, err
		}
	}
	return a, true, nil
}
