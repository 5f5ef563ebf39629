package proxy

import (
	"errors"
	"slices"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Render computes the whole table for what an update holds, from nothing and
// without a kernel.
func Render(config Config, u model.Update) *nft.Table {
	c := newCluster()
	c.apply(&u)
	opts, locality := config.options(c), config.locality(c)
	return desiredTable(c, &locality, &opts)
}

func desiredTable(c *cluster, loc *ruleset.Locality, opts *ruleset.Options) *nft.Table {
	t := ruleset.NewTracker(*opts)
	for name, svc := range c.services {
		t.Set(name, ruleset.Desire(svc, c.byService[name], loc, opts))
	}
	t.Commit(t.Plan(true))
	return t.Table()
}

// ReadFrontends reads what the kernel has for each frontend.
func ReadFrontends(config Config, dp Dataplane) ([]ruleset.FrontendStatus, error) {
	t, err := readTable(config.Table, dp, nil)
	if err != nil || t == nil {
		return nil, err
	}
	return t.List(), nil
}

// CountedFrontend is what the kernel has for a frontend, with what it has counted.
type CountedFrontend struct {
	ruleset.FrontendStatus
	Connections uint64                   // new ones since the element was made
	PerBackend  map[model.Backend]uint64 // nil if backends are not counted
}

// CountedFrontends is what the kernel has for all frontends.
type CountedFrontends struct {
	Exists  bool // there is a table
	Counted bool // it counts
	List    []CountedFrontend
}

// ReadCountedFrontends is ReadFrontends with the counters.
func ReadCountedFrontends(table string, dp Dataplane) (f CountedFrontends, err error) {
	type element struct {
		set      string
		frontend model.FrontendKey
		slot     uint32
	}
	counts := map[element]ruleset.Count{} // an element may be visited twice
	t, err := readTable(table, dp, func(set *nft.Set, e *nft.Element) {
		if c, ok := ruleset.CountOf(set, e); ok {
			counts[element{set.Name, c.Frontend, c.Slot}] = c
		}
	})
	if err != nil || t == nil {
		return f, err
	}
	totals := map[model.FrontendKey]*CountedFrontend{}
	f.Exists, f.Counted = true, slices.ContainsFunc(t.Kernel().Sets, func(s *nft.Set) bool { return s.Counters })
	for _, s := range t.List() {
		f.List = append(f.List, CountedFrontend{FrontendStatus: s})
	}
	for i := range f.List {
		totals[f.List[i].Key] = &f.List[i]
	}
	for _, c := range counts {
		if total := totals[c.Frontend]; total != nil {
			total.add(c)
		}
	}
	return f, nil
}

func (f *CountedFrontend) add(c ruleset.Count) {
	if !c.Backend.IsValid() {
		f.Connections += c.Connections
		return
	}
	if f.PerBackend == nil {
		f.PerBackend = map[model.Backend]uint64{}
	}
	f.PerBackend[c.Backend] += c.Connections
}

// readTable reads a table into a tracker of its own, nil if there is none. Each
// element goes to visit as well, if that is not nil, and maybe twice. On a node where
// the table changes faster than it can be read, what is read may lack elements that
// just came or went.
func readTable(table string, dp Dataplane, visit func(*nft.Set, *nft.Element)) (*ruleset.Tracker, error) {
	if visit == nil {
		visit = func(*nft.Set, *nft.Element) {}
	}
	opts := ruleset.DefaultOptions()
	opts.Table = table
	t := ruleset.NewTracker(opts)
	const tries = 3
	for range tries {
		if _, whole, err := tryAdopt(dp, t, visit); whole || err != nil {
			return orNone(t), err
		}
	}
	loose, ok := dp.(CounterReader)
	if !ok {
		return nil, kernel.ErrInterrupted
	}
	_, _, err := tryAdopt(&looseDataplane{Dataplane: dp, reader: loose}, t, visit)
	return orNone(t), err
}

func orNone(t *ruleset.Tracker) *ruleset.Tracker {
	if t.Kernel() == nil {
		return nil
	}
	return t
}

// looseDataplane reads sets whatever is committed meanwhile.
type looseDataplane struct {
	Dataplane
	reader     CounterReader
	generation uint32
}

// ReadStructure implements Dataplane.
func (l *looseDataplane) ReadStructure(table string, withElements func(set string) bool) (kernel.Snapshot, error) {
	s, err := l.Dataplane.ReadStructure(table, withElements)
	l.generation = s.Generation
	return s, err
}

// ReadSet implements Dataplane.
func (l *looseDataplane) ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (uint32, error) {
	var failed error
	err := l.reader.ReadCounters(table, set, func(e *nft.Element) { failed = errors.Join(failed, visit(e)) })
	return l.generation, errors.Join(err, failed)
}

// SetNames are the names of all sets and maps that a table may have.
func SetNames() []string {
	config := DefaultConfig()
	var names []string
	for _, s := range Render(config, model.Update{}).Sets {
		names = append(names, s.Name)
	}
	return names
}
