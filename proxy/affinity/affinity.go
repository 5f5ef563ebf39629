// Package affinity enforces what becomes of session-affinity bindings. The packet
// path learns them by itself; when a backend leaves a frontend, its bindings are
// found by reading the maps and deleted. That takes time in proportion to all
// bindings, so it happens beside the loop, which only commits the deletes.
package affinity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

// Reader reads a dynamic map: elements may be missing or come twice, since the
// packet path changes it meanwhile. (*kernel.Conn is one.)
type Reader interface {
	ReadSet(table string, set *nft.Set, visit func(*nft.Element) error) (generation uint32, err error)
}

// Commit applies a transaction on behalf of the keeper.
type Commit func(context.Context, *nft.Transaction) error

// Count is told how many bindings a map holds, on the keeper's goroutine.
type Count func(set *nft.Set, n int)

// Keeper enforces binding rules. New makes it, Run works until the context ends.
type Keeper struct {
	reader Reader
	commit Commit
	count  Count
	log    logr.Logger

	mu    sync.Mutex // the edge: the loop hands rules over
	rules map[model.FrontendKey]ruleset.BindingRule
	opts  ruleset.Options
	used  bool // some frontend has affinity, or had
	poke  chan struct{}
}

// New makes a keeper; the reader is its own.
func New(reader Reader, commit Commit, count Count, log logr.Logger) *Keeper {
	return &Keeper{
		reader: reader, commit: commit, count: count, log: log,
		rules: map[model.FrontendKey]ruleset.BindingRule{}, poke: make(chan struct{}, 1),
	}
}

// Use says that there are bindings to be counted from now on.
func (k *Keeper) Use(opts *ruleset.Options) {
	k.mu.Lock()
	k.used, k.opts = true, *opts
	k.mu.Unlock()
}

// Enforce takes rules and returns at once. A later rule for a frontend replaces
// an earlier one.
func (k *Keeper) Enforce(opts *ruleset.Options, rules []ruleset.BindingRule) {
	if len(rules) == 0 {
		return
	}
	k.mu.Lock()
	k.opts = *opts
	for _, r := range rules {
		k.rules[r.Key] = r
	}
	k.mu.Unlock()
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

const (
	// passes bounds how often the maps are read for one set of rules. A pass may
	// miss a binding while others come and go, so it is followed by another until
	// one finds nothing.
	passes = 5
	// settle is how long packets that met the old table may still take to learn a
	// binding.
	settle = 200 * time.Millisecond
	// chunk bounds the elements of one transaction.
	chunk = 5000
	// counting is how often bindings are counted at the most. To count a million
	// takes seconds, so it takes no more than a hundredth of the time.
	counting = time.Minute
)

// Run enforces rules, and counts bindings now and then, until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	next := time.NewTimer(counting)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(max(counting, 100*k.countAll()))
			continue
		case <-k.poke:
		}
		opts, rules := k.take()
		if err := k.enforce(ctx, &opts, rules); err != nil && ctx.Err() == nil {
			k.log.Error(err, "enforce session-affinity bindings, will retry")
			k.giveBack(&opts, rules)
			sleep(ctx, time.Second)
		}
	}
}

// countAll counts the bindings, if there may be any, and returns how long it took.
func (k *Keeper) countAll() time.Duration {
	k.mu.Lock()
	used, opts := k.used, k.opts
	k.mu.Unlock()
	if !used {
		return 0
	}
	begin := time.Now()
	for _, set := range opts.BindingSets() {
		n := 0
		_, err := k.reader.ReadSet(opts.Table, set, func(*nft.Element) error {
			n++
			return nil
		})
		if err == nil {
			k.count(set, n)
		} else if !errors.Is(err, fs.ErrNotExist) {
			k.log.Error(err, "count session-affinity bindings")
		}
	}
	return time.Since(begin)
}

func (k *Keeper) take() (ruleset.Options, map[model.FrontendKey]ruleset.BindingRule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	rules := k.rules
	k.rules = map[model.FrontendKey]ruleset.BindingRule{}
	return k.opts, rules
}

// giveBack returns rules that could not be enforced, unless there are newer ones.
func (k *Keeper) giveBack(opts *ruleset.Options, rules map[model.FrontendKey]ruleset.BindingRule) {
	k.mu.Lock()
	var list []ruleset.BindingRule
	for key, r := range rules {
		if _, newer := k.rules[key]; !newer {
			list = append(list, r)
		}
	}
	k.mu.Unlock()
	k.Enforce(opts, list)
}

func (k *Keeper) enforce(ctx context.Context, opts *ruleset.Options, rules map[model.FrontendKey]ruleset.BindingRule) error {
	total := 0
	for pass := range passes {
		changed, err := k.pass(ctx, opts, rules)
		if err != nil {
			return err
		}
		total += changed
		if changed == 0 && pass > 0 {
			break
		}
		if sleep(ctx, settle); ctx.Err() != nil {
			return nil
		}
	}
	k.log.V(2).Info("session-affinity bindings enforced", "frontends", len(rules), "changed", total)
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pass reads the maps once and commits what has to change.
func (k *Keeper) pass(ctx context.Context, opts *ruleset.Options, rules map[model.FrontendKey]ruleset.BindingRule) (changed int, err error) {
	for _, set := range opts.BindingSets() {
		gone, replaced, err := k.read(opts.Table, set, rules)
		if errors.Is(err, fs.ErrNotExist) { // no table, no bindings
			continue
		}
		if err != nil {
			return changed, err
		}
		for start := 0; start < len(gone); start += chunk {
			tx := nft.NewTransaction(&nft.Table{Name: opts.Table, Owned: opts.Owned, Persist: opts.Persist})
			end := min(start+chunk, len(gone))
			tx.DestroyElements(set, gone[start:end]...)
			for _, e := range replaced[start:end] {
				if e != nil {
					tx.AddElements(set, *e)
				}
			}
			if err := k.commit(ctx, tx); err != nil {
				return changed, fmt.Errorf("delete bindings: %w", err)
			}
			changed += end - start
		}
	}
	return changed, nil
}

// read lists the keys of the bindings that go, and for each its replacement or nil.
func (k *Keeper) read(table string, set *nft.Set, rules map[model.FrontendKey]ruleset.BindingRule) (gone []nft.Element, replaced []*nft.Element, err error) {
	seen := map[nft.Value]struct{}{}
	_, err = k.reader.ReadSet(table, set, func(e *nft.Element) error {
		key, backend := ruleset.BindingOf(set, e)
		rule, ok := rules[key]
		if !ok {
			return nil
		}
		stays, replacement := rule.Apply(e, backend)
		if _, twice := seen[e.Key]; stays || twice {
			return nil
		}
		seen[e.Key] = struct{}{}
		gone, replaced = append(gone, nft.Element{Key: e.Key}), append(replaced, replacement)
		return nil
	})
	return gone, replaced, err
}
