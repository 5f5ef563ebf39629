package conntrack

import (
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// recovery is a request to delete the flows to frontends that nobody has answered.
type recovery struct {
	frontends map[model.FrontendKey]struct{}
	passes    int       // still to do, 1 or more
	due       time.Time // of the next pass
}

// Recover asks once for the flows to the frontends to be deleted that nobody has
// answered, of all protocols, and returns at once. It replaces such a request that
// waits. Call it after the table was put right: a first packet that passed before
// was not translated, or not masqueraded, and what conntrack took down then holds
// for each repetition of it, which would never meet the table as it is now.
func (c *Cleaner) Recover(frontends []model.FrontendKey) {
	r := &recovery{frontends: make(map[model.FrontendKey]struct{}, len(frontends)), passes: passesPerRequest, due: time.Now()}
	for _, k := range frontends {
		k.Addr = k.Addr.Unmap()
		r.frontends[k] = struct{}{}
	}
	c.mu.Lock()
	c.recovery = r
	c.mu.Unlock()
	c.wake()
}

// isLost reports whether the flow leads nowhere as far as one can tell.
func (r *recovery) isLost(f *flow) bool {
	if f.answered {
		return false
	}
	_, found := r.frontends[model.FrontendKey{Addr: f.destination.Addr(), Port: f.destination.Port(), Protocol: f.protocol}]
	return found
}

// filters lets through what nobody has answered.
func (r *recovery) filters() []filter {
	var has [2]bool
	for k := range r.frontends {
		if has[0], has[1] = has[0] || k.Addr.Is4(), has[1] || !k.Addr.Is4(); has[0] && has[1] {
			break
		}
	}
	var list []filter
	for i, fam := range []family{ipv4, ipv6} {
		if has[i] {
			list = append(list, filter{family: fam, unanswered: true})
		}
	}
	return list
}
