package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"github.com/kube-vmap/kube-vmap/nft"
)

// Reconfigure makes a running proxy work by another configuration, and returns when
// the loop has taken it over; the table follows with the next step. Connections are
// not touched. The node's name, the table's and the families can't change.
//
// The kernel can change neither a table's owner nor a set's size or counters: for
// these the table is replaced in one transaction. Session-affinity bindings are
// carried over, up to mostKept of each family; one that a packet makes while they
// are read is lost, and its client is balanced again.
func (p *Proxy) Reconfigure(ctx context.Context, c Config) error {
	return p.call(ctx, func() error { return p.reconfigure(c) })
}

func (p *Proxy) reconfigure(c Config) error {
	if c.NodeName != p.config.NodeName || c.Table != p.config.Table || c.IPv4 != p.config.IPv4 || c.IPv6 != p.config.IPv6 {
		return errors.New("reconfigure: the node's name, the table's name and the families can't change while the proxy runs; start it anew")
	}
	if reflect.DeepEqual(c, p.config) {
		return nil
	}
	repaired := p.config.Repair == RepairChanges
	p.config = c
	p.hostChanged()
	p.markAll()
	switch {
	case c.Repair == IgnoreChanges:
		p.unwatch()
	case c.Repair != ReportChanges && !repaired && p.synced:
		p.adopted, p.suspicious = false, true // for what was left until now
	}
	p.inbox.signal()
	return nil
}

// reoption brings the fixed part of the table to the options of now, where packets
// on their way need it by steps. The last step is the next plan's.
func (p *Proxy) reoption(r *report) error {
	want := p.config.options(p.cluster)
	if want.Equal(p.tracker.Options()) {
		return nil
	}
	if p.synced {
		for _, step := range p.tracker.Options().StepsTo(&want) {
			p.tracker.SetOptions(step)
			if err := p.commit(r, p.tracker.Plan(false)); err != nil {
				return fmt.Errorf("change the table's options: %w", err)
			}
		}
	}
	p.tracker.SetOptions(want)
	return nil
}

// mostKept bounds how many bindings of a family are carried into a new table: they
// are in memory at once, in some 300 bytes each.
const mostKept = 1 << 18

// keepBindings adds the session-affinity bindings that the kernel has to a
// transaction that replaces the table. That they can't be read costs affinity and
// never service.
func (p *Proxy) keepBindings(tx *nft.Transaction) {
	if !tx.ReplacesTable() {
		return
	}
	for _, set := range p.tracker.Options().BindingSets() {
		var kept []nft.Element
		most := min(mostKept, int(set.Size))
		_, err := p.dataplane.ReadSet(tx.Table.Name, set, func(e *nft.Element) error {
			if len(kept) < most && e.Timeout > 0 && e.Expires > 0 {
				kept = append(kept, nft.Element{Key: e.Key, Data: e.Data, Timeout: e.Timeout, Expires: e.Expires})
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.log.Error(err, "session-affinity bindings are lost with the table that is replaced", "map", set.Name)
			continue
		}
		tx.AddElements(set, distinct(kept)...)
	}
}

// distinct drops bindings that a read brought twice, since packets changed the map
// meanwhile.
func distinct(list []nft.Element) []nft.Element {
	seen := make(map[nft.Value]struct{}, len(list))
	kept := list[:0]
	for i := range list {
		if _, twice := seen[list[i].Key]; !twice {
			seen[list[i].Key] = struct{}{}
			kept = append(kept, list[i])
		}
	}
	return kept
}
