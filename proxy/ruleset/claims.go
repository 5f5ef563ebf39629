package ruleset

import (
	"slices"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Claims decide which Service has a frontend that several want: the oldest,
// whatever the order in which they came. The result depends only on the claims
// that stand.
type Claims struct {
	owners  map[model.FrontendKey]*model.Service
	waiting map[model.FrontendKey][]*model.Service // those that lost
	keys    map[model.ServiceName][]model.FrontendKey
}

// NewClaims returns no claims.
func NewClaims() *Claims {
	return &Claims{
		owners:  map[model.FrontendKey]*model.Service{},
		waiting: map[model.FrontendKey][]*model.Service{},
		keys:    map[model.ServiceName][]model.FrontendKey{},
	}
}

// Conflict is a frontend that a Service wants and an older one has.
type Conflict struct {
	Key    model.FrontendKey
	Winner model.ServiceName
}

// Owner is the Service that has the frontend, nil if none wants it.
func (c *Claims) Owner(k model.FrontendKey) *model.Service { return c.owners[k] }

// Keys are what the Service claims, won or not.
func (c *Claims) Keys(name model.ServiceName) []model.FrontendKey { return c.keys[name] }

// Conflicts are the frontends that the Service wants and does not have.
func (c *Claims) Conflicts(name model.ServiceName) []Conflict {
	var lost []Conflict
	for _, k := range c.keys[name] {
		if o := c.owners[k]; o.Name != name {
			lost = append(lost, Conflict{k, o.Name})
		}
	}
	return lost
}

// Set replaces what a Service claims; a nil Service claims nothing. It returns
// the other Services that won or lost a frontend by it, sorted.
func (c *Claims) Set(name model.ServiceName, svc *model.Service, keys []model.FrontendKey) (affected []model.ServiceName) {
	old := c.keys[name]
	before := c.ownersOf(old, keys)
	for _, k := range old {
		c.release(k, name)
	}
	for _, k := range keys {
		c.claim(k, svc)
	}
	if svc == nil {
		delete(c.keys, name)
	} else {
		c.keys[name] = keys
	}
	for i, now := range c.ownersOf(old, keys) {
		was := before[i]
		for _, other := range [...]model.ServiceName{was, now} {
			if was != now && other != name && other != (model.ServiceName{}) {
				affected = append(affected, other)
			}
		}
	}
	slices.SortFunc(affected, model.ServiceName.Compare)
	return slices.Compact(affected)
}

// ownerName is the zero name if nobody has the frontend.
func (c *Claims) ownerName(k model.FrontendKey) model.ServiceName {
	if o := c.owners[k]; o != nil {
		return o.Name
	}
	return model.ServiceName{}
}

// ownersOf are the owners of the frontends of both lists, one after the other.
func (c *Claims) ownersOf(old, keys []model.FrontendKey) []model.ServiceName {
	owners := make([]model.ServiceName, 0, len(old)+len(keys))
	for _, list := range [...][]model.FrontendKey{old, keys} {
		for _, k := range list {
			owners = append(owners, c.ownerName(k))
		}
	}
	return owners
}

func (c *Claims) claim(k model.FrontendKey, svc *model.Service) {
	owner := c.owners[k]
	switch {
	case owner == nil:
		c.owners[k] = svc
	case svc.Older(owner):
		c.owners[k] = svc
		c.waiting[k] = append(c.waiting[k], owner)
	default:
		c.waiting[k] = append(c.waiting[k], svc)
	}
}

func (c *Claims) release(k model.FrontendKey, name model.ServiceName) {
	waiting := slices.DeleteFunc(c.waiting[k], func(s *model.Service) bool { return s.Name == name })
	if owner := c.owners[k]; owner != nil && owner.Name == name {
		delete(c.owners, k)
		if len(waiting) > 0 {
			next := slices.MinFunc(waiting, func(a, b *model.Service) int {
				if a.Older(b) {
					return -1
				}
				return 1
			})
			c.owners[k] = next
			waiting = slices.DeleteFunc(waiting, func(s *model.Service) bool { return s == next })
		}
	}
	if len(waiting) == 0 {
		delete(c.waiting, k)
	} else {
		c.waiting[k] = waiting
	}
}
