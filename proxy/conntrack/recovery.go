package conntrack

import (
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// recovery is a request to delete the flows to frontends that nobody has answered.
type recovery struct {
	frontends []model.FrontendKey // sorted by the first pass
	passes    int                 // still to do, 1 or more
	due       time.Time           // of the next pass

	// translated flows that an earlier pass met, by their ids: these may just be on
	// their way, and are lost if the next pass meets them still unanswered.
	translated map[[4]byte]struct{}
}

// Recover asks once for the flows to the frontends to be deleted that nobody has
// answered, of all protocols, and returns at once. It replaces such a request that
// waits. The list is the Cleaner's from then on. Call it after the table was put
// right: a first packet that passed before was not translated, or not masqueraded,
// and what conntrack took down then holds for each repetition of it, which would
// never meet the table as it is now.
func (c *Cleaner) Recover(frontends []model.FrontendKey) {
	c.mu.Lock()
	c.recovery = &recovery{
		frontends: frontends, passes: passesPerRequest, due: time.Now(), translated: map[[4]byte]struct{}{},
	}
	c.mu.Unlock()
	c.wake()
}

// isLost reports whether the flow leads nowhere as far as one can tell.
func (r *recovery) isLost(f *flow) bool {
	if f.answered {
		return false
	}
	k := model.FrontendKey{Addr: f.destination.Addr(), Port: f.destination.Port(), Protocol: f.protocol}
	if _, found := slices.BinarySearchFunc(r.frontends, k, model.FrontendKey.Compare); !found {
		return false
	}
	if f.source == f.destination {
		return true
	}
	id := [4]byte(f.id)
	_, again := r.translated[id]
	r.translated[id] = struct{}{}
	return again
}

// filters lets through what nobody has answered, in the families that there are.
// It sorts the frontends, IPv4 before IPv6.
func (r *recovery) filters() (list []filter) {
	if !slices.IsSortedFunc(r.frontends, model.FrontendKey.Compare) {
		slices.SortFunc(r.frontends, model.FrontendKey.Compare)
	}
	if n := len(r.frontends); n > 0 {
		for _, k := range []model.FrontendKey{r.frontends[0], r.frontends[n-1]} {
			list = append(list, filter{family: familyOf(k.Addr), unanswered: true})
		}
	}
	return slices.Compact(list)
}
