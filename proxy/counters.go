package proxy

import (
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/metrics"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// CounterReader reads the counters of elements; *kernel.Conn does. One goroutine
// uses it.
type CounterReader interface {
	ReadStructure(table string, withElements func(set string) bool) (kernel.Snapshot, error)
	ReadCounters(table string, set *nft.Set, visit func(*nft.Element)) error
	ReadElement(table string, set *nft.Set, key nft.Value) (e nft.Element, found bool, err error)
}

var _ CounterReader = (*kernel.Conn)(nil)

// KeepCounters makes elements that are replaced go on counting where the old ones
// ended. The reader is the loop's: the dataplane itself. Without, they begin at
// zero. Call it before Run.
func (p *Proxy) KeepCounters(reader CounterReader) { p.counters = reader }

// fewCounters is up to how many elements it is quicker to read one by one than to
// read their whole set.
const fewCounters = 500

// keepCounters gives the elements that a transaction replaces the counts that the
// kernel has. What is counted between this and the commit is lost.
func (p *Proxy) keepCounters(tx *nft.Transaction) {
	if p.counters == nil {
		return
	}
	replaced := map[string]map[nft.Value]*nft.Element{}
	sets := map[string]*nft.Set{}
	for set, e := range tx.Recounted() {
		if replaced[set.Name] == nil {
			replaced[set.Name], sets[set.Name] = map[nft.Value]*nft.Element{}, set
		}
		replaced[set.Name][e.Key] = e
	}
	for name, elements := range replaced {
		if err := p.readCounts(tx.Table.Name, sets[name], elements); err != nil {
			p.log.V(1).Info("counts of replaced elements are lost", "set", name, "reason", err.Error())
		}
	}
}

// readCounts fills in what the kernel has counted for the elements.
func (p *Proxy) readCounts(table string, set *nft.Set, elements map[nft.Value]*nft.Element) error {
	take := func(e *nft.Element) {
		if ours := elements[e.Key]; ours != nil {
			ours.Packets, ours.Bytes = e.Packets, e.Bytes
		}
	}
	if len(elements) > fewCounters {
		return p.counters.ReadCounters(table, set, take)
	}
	for key := range elements {
		e, found, err := p.counters.ReadElement(table, set, key)
		if err != nil {
			return err
		}
		if found {
			take(&e)
		}
	}
	return nil
}

// Connections reads the counters of a table for metrics. The result may be used
// from any goroutine, one call at a time; the reader is nobody else's.
func Connections(table string, reader CounterReader) func(visit func(metrics.Reading)) error {
	return func(visit func(metrics.Reading)) error {
		return readCounters(table, reader, func(c ruleset.Count) {
			visit(metrics.Reading{
				Frontend: c.Frontend, ServicePort: c.ServicePort,
				Slot: c.Slot, Backend: c.Backend, IsLocal: c.IsLocal, Connections: c.Connections,
			})
		})
	}
}

// readCounters visits all counts of a table. Those of service ports come before
// those of their backends.
func readCounters(table string, reader CounterReader, visit func(ruleset.Count)) error {
	snapshot, err := reader.ReadStructure(table, func(string) bool { return false })
	if err != nil || snapshot.Table == nil {
		return err
	}
	for _, verdicts := range []bool{true, false} {
		for _, set := range snapshot.Table.Sets {
			if !set.Counters || set.Verdicts != verdicts {
				continue
			}
			err := reader.ReadCounters(table, set, func(e *nft.Element) {
				if c, ok := ruleset.CountOf(set, e); ok {
					visit(c)
				}
			})
			if err != nil {
				return fmt.Errorf("read counters: %w", err)
			}
		}
	}
	return nil
}
