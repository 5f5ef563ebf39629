package convert

// cacheLimit bounds the entries of a generation. It is above the number of nodes
// that Kubernetes supports, so that a cluster's names stay in one generation.
const cacheLimit = 1 << 14

// generations is a cache that forgets what was not asked for lately: an entry
// lives while it is asked for once in every cacheLimit new keys. Forgetting costs
// a duplicate in memory and nothing else.
type generations[V any] struct{ young, old map[string]V }

// get is the value of key, made by the given function if it is not known.
func (g *generations[V]) get(key []byte, create func() V) V {
	if v, ok := g.young[string(key)]; ok {
		return v
	}
	v, ok := g.old[string(key)]
	if !ok {
		v = create()
	}
	if g.young == nil || len(g.young) >= cacheLimit {
		g.young, g.old = make(map[string]V), g.young
	}
	g.young[string(key)] = v
	return v
}

// interner makes equal strings share their bytes. (A unique.Handle does so only
// while the handle itself is kept, and the model keeps plain strings.)
type interner struct {
	known generations[string]
	key   []byte
}

func (in *interner) share(s string) string {
	if s == "" {
		return ""
	}
	in.key = append(in.key[:0], s...)
	return in.known.get(in.key, func() string { return s })
}
