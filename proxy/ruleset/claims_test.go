package ruleset

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

func claimant(i int, created int64) *model.Service {
	return &model.Service{
		Name: model.ServiceName{Namespace: "test", Name: fmt.Sprint("s", i)},
		UID:  fmt.Sprint("uid-", i), Created: time.Unix(created, 0),
	}
}

func frontendKeyOf(i int) model.FrontendKey {
	return model.FrontendKey{Addr: netip.AddrFrom4([4]byte{10, 96, 0, byte(i)}), Port: 80, Protocol: model.TCP}
}

// TestClaimsOldestWins plays random claims and checks after each that every
// frontend belongs to the oldest of those that claim it now, and that whoever won
// or lost one was told.
func TestClaimsOldestWins(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 9))
		c := NewClaims()
		wants := map[int][]model.FrontendKey{}
		services := map[int]*model.Service{}
		for step := range 60 {
			i := rng.IntN(6)
			var keys []model.FrontendKey
			var svc *model.Service
			if rng.IntN(4) > 0 {
				svc = claimant(i, rng.Int64N(5)) // a service may be made anew, younger or older
				for _, k := range rng.Perm(5)[:1+rng.IntN(4)] {
					keys = append(keys, frontendKeyOf(k))
				}
			}
			before := owners(c)
			affected := c.Set(model.ServiceName{Namespace: "test", Name: fmt.Sprint("s", i)}, svc, keys)
			wants[i], services[i] = keys, svc
			after := owners(c)
			checkOwners(t, seed, step, wants, services, after)
			told := map[model.ServiceName]bool{{Namespace: "test", Name: fmt.Sprint("s", i)}: true, {}: true}
			for _, name := range affected {
				told[name] = true
			}
			for k := range 5 {
				if b, a := before[frontendKeyOf(k)], after[frontendKeyOf(k)]; b != a && (!told[a] || !told[b]) {
					t.Fatalf("seed %d step %d: frontend %d went from %s to %s, told: %v", seed, step, k, b, a, affected)
				}
			}
		}
	}
}

func owners(c *Claims) map[model.FrontendKey]model.ServiceName {
	m := map[model.FrontendKey]model.ServiceName{}
	for k := range 5 {
		m[frontendKeyOf(k)] = c.ownerName(frontendKeyOf(k))
	}
	return m
}

func checkOwners(t *testing.T, seed uint64, step int, wants map[int][]model.FrontendKey, services map[int]*model.Service, got map[model.FrontendKey]model.ServiceName) {
	t.Helper()
	for k := range 5 {
		var oldest *model.Service
		for i, keys := range wants {
			for _, key := range keys {
				if key == frontendKeyOf(k) && (oldest == nil || services[i].Older(oldest)) {
					oldest = services[i]
				}
			}
		}
		var want model.ServiceName
		if oldest != nil {
			want = oldest.Name
		}
		if got[frontendKeyOf(k)] != want {
			t.Fatalf("seed %d step %d: frontend %d belongs to %s, want %s", seed, step, k, got[frontendKeyOf(k)], want)
		}
	}
}

func TestClaimsConflicts(t *testing.T) {
	c := NewClaims()
	old, young := claimant(1, 1), claimant(2, 2)
	c.Set(young.Name, young, []model.FrontendKey{frontendKeyOf(1), frontendKeyOf(2)})
	c.Set(old.Name, old, []model.FrontendKey{frontendKeyOf(1)})
	conflicts := c.Conflicts(young.Name)
	if len(conflicts) != 1 || conflicts[0] != (Conflict{frontendKeyOf(1), old.Name}) {
		t.Errorf("conflicts of the younger: %+v", conflicts)
	}
	if conflicts := c.Conflicts(old.Name); conflicts != nil {
		t.Errorf("conflicts of the older: %+v", conflicts)
	}
}
