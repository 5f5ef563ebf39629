package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
)

// awaitBindings waits until every session-affinity binding in the kernel leads to
// a backend that its frontend has, and has the frontend's timeout: the proxy
// deletes and replaces the others beside its loop.
func (l *live) awaitBindings(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		snapshot, err := l.reader.ReadTable(l.config.Table)
		if err != nil {
			t.Fatal(err)
		}
		stale := staleBindings(snapshot.Table)
		if len(stale) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("bindings stay that should go:\n%s", strings.Join(stale, "\n"))
		}
	}
}

// staleBindings lists the bindings of frontends without affinity, those to
// backends that their frontend doesn't have, and those with another timeout.
func staleBindings(t *nft.Table) []string {
	var stale []string
	for _, family := range []string{"4", "6"} {
		bindings, learn := t.Set("affinity"+family), t.Set("learn"+family)
		if bindings == nil {
			continue
		}
		usable := map[string]bool{} // frontend and backend
		for _, name := range []string{"backends", "local-backends"} {
			slots := t.Set(name + family)
			for i := range slots.Elements {
				frontend, _ := slotKey(slots, &slots.Elements[i])
				usable[string(frontend)+slots.Elements[i].Data.Text(slots.Data)] = true
			}
		}
		chains := map[string]string{} // by frontend
		for i := range learn.Elements {
			chains[string(learn.Elements[i].Key.Bytes())] = learn.Elements[i].Verdict.Chain
		}
		for i := range bindings.Elements {
			e := &bindings.Elements[i]
			frontend := string(e.Key.Bytes()[bindings.Key[0].Size():]) // behind the client
			chain := fmt.Sprintf("learn-%d", int(e.Timeout.Seconds()))
			if chains[frontend] != chain || !usable[frontend+e.Data.Text(bindings.Data)] {
				stale = append(stale, e.Text(bindings))
			}
		}
	}
	return stale
}
