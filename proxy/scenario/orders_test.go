package scenario

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
)

// testOrders brings the objects of the first step in many orders, and waits after
// each change until the table is what is computed from nothing for the objects
// that are there: whatever the way, the table is the same. Between the orders all
// objects go again, one by one or all at once.
func (s *scenario) testOrders(t *testing.T) {
	node := s.config.Proxies[0]
	ns := kerneltest.Namespace(t)
	l := newLive(t, ns.FD(), s.config.proxy(node), newWorld(&s.config, node))
	l.start(t)
	l.await(t)
	objects := append(clusterObjects(t, s), s.steps[0].objects...)
	rng := rand.New(rand.NewPCG(1, uint64(len(objects))))
	for _, order := range orders(objects, rng) {
		l.oneByOne(t, order)
		l.checkReadBack(t)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		l.oneByOne(t, deletions(order))
	}
	l.apply(objects...)
	l.await(t)
	l.walk(t, objects, rng)
	l.apply(deletions(objects)...)
	l.await(t)
	l.checkReadBack(t)
}

// orders are some orders in which objects may come.
func orders(objects []object, rng *rand.Rand) [][]object {
	last := func(kind string) []object {
		order := slices.Clone(objects)
		slices.SortStableFunc(order, func(a, b object) int {
			return strings.Compare(lastOf(kind, a), lastOf(kind, b))
		})
		return order
	}
	list := [][]object{last("EndpointSlice"), last("Service"), last("Node")}
	for range 2 {
		order := slices.Clone(objects)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		list = append(list, order)
	}
	return list
}

func lastOf(kind string, o object) string {
	if o.ref.Kind == kind {
		return "last"
	}
	return "before"
}

func deletions(objects []object) []object {
	list := make([]object, len(objects))
	for i, o := range objects {
		list[i] = o.deletion()
	}
	return list
}

func (l *live) oneByOne(t *testing.T, objects []object) {
	t.Helper()
	for _, o := range objects {
		l.apply(o)
		l.await(t)
	}
}

// walk lets objects come and go at random.
func (l *live) walk(t *testing.T, objects []object, rng *rand.Rand) {
	t.Helper()
	gone := make([]bool, len(objects))
	for range 3 * len(objects) {
		i := rng.IntN(len(objects))
		o := objects[i]
		if gone[i] = !gone[i]; gone[i] {
			o = o.deletion()
		}
		l.apply(o)
		l.await(t)
	}
}

// checkReadBack holds the kernel's table to what was committed.
func (l *live) checkReadBack(t *testing.T) {
	t.Helper()
	want := l.kernel.table()
	snapshot, err := l.reader.ReadTable(want.Name)
	if err != nil {
		t.Fatal(err)
	}
	if tx := nft.Diff(snapshot.Table, want); !tx.IsEmpty() {
		t.Errorf("the kernel's table differs from what was committed by:\n%s", strings.Join(tx.Lines(), "\n"))
	}
	for _, c := range want.Chains {
		for i, rule := range snapshot.Table.Chain(c.Name).Rules {
			if rule.String() != c.Rules[i].String() {
				t.Errorf("a rule of %s is read as\n%s and was committed as\n%s", c.Name, rule, c.Rules[i])
			}
		}
	}
}
