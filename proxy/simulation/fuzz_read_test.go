package simulation

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset/rulesettest"
)

// FuzzRead lets a stranger write into the table: elements are deleted, changed
// and added as the bytes say, as far as a kernel would take them. Whatever a new
// tracker then reads, one plan makes the table what it should be.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	for op := range byte(4) {
		for set := range byte(24) {
			f.Add([]byte{op, set, 1, 0, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9, op + 1, set + 1, 3})
		}
	}
	f.Add([]byte(strings.Repeat("a stranger writes", 20)))
	f.Fuzz(func(t *testing.T, script []byte) {
		kernel := newStranger(t, script)
		kernel.write()
		tracker := ruleset.NewTracker(ruleset.DefaultOptions())
		readAll(t, tracker, &kernel.memory)
		setFixture(tracker)
		plan := tracker.Plan(true)
		for _, tx := range plan.Transactions {
			if err := kernel.commit(tx); err != nil {
				t.Fatalf("%v, of:\n%s", err, strings.Join(tx.Lines(), "\n"))
			}
		}
		tracker.Commit(plan)
		have := kernel.copy()
		if lines := rulesettest.Compare(have, fixture().Table()); len(lines) > 0 {
			t.Fatalf("the kernel has another table:\n%s", strings.Join(lines, "\n"))
		}
		if tx := nft.Diff(have, tracker.Table()); !tx.IsEmpty() {
			t.Fatalf("the tracker knows another table:\n%s", strings.Join(tx.Lines(), "\n"))
		}
	})
}

// FuzzReadAnything gives elements to Read whose form fits no set.
func FuzzReadAnything(f *testing.F) {
	f.Add("services4", []byte{10, 96, 0, 1, 6, 0, 0, 0, 0, 80}, []byte{}, []byte{}, "goto", "lb4-1")
	f.Add("services6", []byte{}, []byte{1}, []byte{2}, "", "lb6-")
	f.Add("backends", []byte{1, 2, 3}, []byte{}, []byte{4}, "a", "learn-0")
	f.Add("hairpin6", []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{}, []byte{}, "", "")
	f.Add("allowed-sources4", []byte{10, 96, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0}, []byte{1}, []byte{}, "", "")
	f.Fuzz(func(t *testing.T, set string, key, keyEnd, data []byte, comment, chain string) {
		tracker := fixture()
		var e nft.Element
		var err error
		for _, v := range []struct {
			into *nft.Value
			from []byte
		}{{&e.Key, key}, {&e.KeyEnd, keyEnd}, {&e.Data, data}} {
			if *v.into, err = nft.ValueOf(v.from); err != nil {
				return
			}
		}
		e.Comment = comment
		for _, e.Verdict = range []nft.Verdict{{}, {Kind: nft.Drop}, nft.GotoChain(chain), nft.JumpChain(chain)} {
			tracker.Read(set, &e)
		}
		setFixture(tracker)
		tracker.Commit(tracker.Plan(true))
		tracker.List()
		tracker.Table()
	})
}

// readAll makes a tracker begin from what a kernel has.
func readAll(t *testing.T, tracker *ruleset.Tracker, m *memory) {
	t.Helper()
	snapshot, _ := m.ReadStructure(tracker.Options().Table, ruleset.IsFixed)
	tracker.Adopt(snapshot.Table)
	for _, set := range tracker.SetsToRead() {
		if _, err := m.ReadSet(snapshot.Table.Name, set, func(e *nft.Element) error {
			tracker.Read(set.Name, e)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// fixture is a tracker with elements in every set.
func fixture() *ruleset.Tracker {
	tracker := ruleset.NewTracker(ruleset.DefaultOptions())
	setFixture(tracker)
	tracker.Commit(tracker.Plan(true))
	return tracker
}

func setFixture(tracker *ruleset.Tracker) {
	locality := ruleset.Locality{Node: "node-a", NodePortAddrs: nodeAddrs}
	for _, s := range fixtureServices() {
		slices := []*model.EndpointSlice{fixtureSlice(s, true), fixtureSlice(s, false)}
		tracker.Set(s.Name, ruleset.Desire(s, slices, &locality, tracker.Options()))
	}
}

func fixtureServices() []*model.Service {
	return []*model.Service{{
		Name: model.ServiceName{Namespace: "a", Name: "web"}, Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80, NodePort: 30080}},
		ClusterIPs: []netip.Addr{clusterIP(1), clusterIP(101)}, LoadBalancerIPs: addrs("203.0.113.1", "2001:db8:113::1"),
		ExternalPolicy: model.PolicyLocal, Affinity: time.Hour, SourceRanges: ranges[:8],
	}, {
		Name: model.ServiceName{Namespace: "a", Name: "dns"}, Ports: []model.ServicePort{{Name: "dns", Protocol: model.UDP, Port: 53}},
		ClusterIPs: []netip.Addr{clusterIP(2), clusterIP(102)}, ExternalIPs: addrs("203.0.113.2", "2001:db8:113::2"),
	}, {
		Name: model.ServiceName{Namespace: "b", Name: "none"}, Ports: []model.ServicePort{{Name: "x", Protocol: model.SCTP, Port: 99}},
		ClusterIPs: []netip.Addr{clusterIP(3), clusterIP(103)},
	}}
}

func fixtureSlice(s *model.Service, is4 bool) *model.EndpointSlice {
	slice := &model.EndpointSlice{Name: model.SliceName{Namespace: "a", Name: s.Name.Name}, Service: s.Name}
	if s.Name.Name == "none" {
		return slice
	}
	slice.Ports = []model.EndpointPort{{Name: s.Ports[0].Name, Protocol: s.Ports[0].Protocol, Port: 8080}}
	for i := range 5 {
		slice.Endpoints = append(slice.Endpoints, model.Endpoint{Addr: pod(i, is4), Node: nodeNames[i], State: model.Ready | model.Serving})
	}
	return slice
}

// stranger is a kernel into which another program writes what a script says.
type stranger struct {
	memory
	t      *testing.T
	script []byte
}

// strangeChains exist beside those that are wanted.
var strangeChains = []string{"lb4-3", "lb6-16", "local-lb4-8", "local-affinity6-2", "learn-7", "learn-0", "learn-x", "stranger"}

func newStranger(t *testing.T, script []byte) *stranger {
	s := &stranger{t: t, script: script}
	table := fixture().Table()
	tx := nft.Diff(nil, table)
	for _, name := range strangeChains {
		if table.Chain(name) == nil {
			tx.AddChain(&nft.Chain{Name: name})
		}
	}
	if err := s.commit(tx); err != nil {
		t.Fatal(err)
	}
	return s
}

// commit applies a transaction without a look at promises: what a stranger wrote
// may be replaced.
func (s *stranger) commit(tx *nft.Transaction) error {
	ops := tx.Operations()
	for i := range ops {
		if err := s.apply(tx.Table, &ops[i]); err != nil {
			return err
		}
	}
	return nil
}

// next takes a byte of the script, 0 after its end.
func (s *stranger) next() byte {
	if len(s.script) == 0 {
		return 0
	}
	b := s.script[0]
	s.script = s.script[1:]
	return b
}

// write executes the script.
func (s *stranger) write() {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.table.sets)), func(name string) bool {
		return ruleset.IsFixed(name) || s.table.sets[name].definition.Dynamic
	})
	for len(s.script) > 0 {
		op, set := s.next(), s.table.sets[names[int(s.next())%len(names)]]
		e := s.pick(set)
		switch op % 4 {
		case 0:
			delete(set.elements, e.Key)
		case 1: // a copy of an element with changes
			s.change(set.definition, &e)
			s.put(set, e)
		case 2: // the same in place of the element
			delete(set.elements, e.Key)
			s.change(set.definition, &e)
			s.put(set, e)
		case 3:
			s.put(set, s.element(set.definition))
		}
	}
}

// put writes an element if a kernel would take it.
func (s *stranger) put(set *memorySet, e nft.Element) { _ = s.addElement(set, e) }

// pick takes an element that is there, an empty one if there is none.
func (s *stranger) pick(set *memorySet) nft.Element {
	keys := slices.SortedFunc(maps.Keys(set.elements), func(a, b nft.Value) int { return strings.Compare(string(a.Bytes()), string(b.Bytes())) })
	at := int(s.next())
	if len(keys) == 0 {
		return nft.Element{}
	}
	return set.elements[keys[at%len(keys)]]
}

// change changes one thing about an element.
func (s *stranger) change(d *nft.Set, e *nft.Element) {
	switch s.next() % 5 {
	case 0:
		s.flip(&e.Key)
	case 1:
		s.flip(&e.KeyEnd)
	case 2:
		s.flip(&e.Data)
	case 3:
		e.Comment = s.comment()
	case 4:
		if d.IsVerdictMap() {
			e.Verdict = s.verdict()
		}
	}
}

// flip changes a byte of a value.
func (s *stranger) flip(v *nft.Value) {
	if b := slices.Clone(v.Bytes()); len(b) > 0 {
		b[int(s.next())%len(b)] ^= s.next()
		*v, _ = nft.ValueOf(b)
	}
}

func (s *stranger) comment() string {
	return []string{"", "a/web", "a/dns:dns", "b/none:x", "stranger", "ClusterIP", "NodePort", "LoadBalancer"}[s.next()%8]
}

func (s *stranger) verdict() nft.Verdict {
	chains := append(slices.Sorted(maps.Keys(s.table.chains)), strangeChains...)
	chain := chains[int(s.next())%len(chains)]
	if c := s.table.chains[chain]; c == nil || c.Base != nil {
		return nft.Verdict{Kind: nft.Return}
	}
	return []nft.Verdict{{Kind: nft.Accept}, {Kind: nft.Drop}, {Kind: nft.Return}, nft.JumpChain(chain), nft.GotoChain(chain)}[s.next()%5]
}

// element is an element of bytes from the script, of the form of the set.
func (s *stranger) element(d *nft.Set) nft.Element {
	e := nft.Element{Key: s.value(d.Key), Comment: s.comment()}
	if d.Interval && s.next()%2 == 0 {
		e.KeyEnd = s.value(d.Key)
	}
	if d.IsMap() {
		e.Data = s.value(d.Data)
	}
	if d.IsVerdictMap() {
		e.Verdict = s.verdict()
	}
	return e
}

func (s *stranger) value(ts nft.Types) nft.Value {
	b := make([]byte, padded(ts))
	for i := range b {
		b[i] = s.next()
	}
	v, _ := nft.ValueOf(b)
	return v
}
