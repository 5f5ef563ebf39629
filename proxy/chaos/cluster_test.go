package chaos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// crowd is how many services there are besides those with traffic.
const crowd = 200

// cluster is a directory of manifests that the adversary changes, and an API server
// with the same objects where the agent takes them from there.
type cluster struct {
	dir      string
	beside   string     // where a file is written before it is renamed
	api      *apiServer // nil: none
	services map[string]*service
	changes  int // files replaced or removed
}

func newCluster(dir string, r *rand.Rand, api *apiServer) (*cluster, error) {
	c := &cluster{
		dir: filepath.Join(dir, "manifests"), beside: filepath.Join(dir, "beside"), api: api,
		services: map[string]*service{},
	}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, err
	}
	if err := c.putNode("zone-a"); err != nil {
		return nil, err
	}
	for _, s := range []*service{web(r), sticky()} {
		if err := c.put(s); err != nil {
			return nil, err
		}
	}
	for n := range crowd {
		if err := c.put(other(r, fmt.Sprintf("other-%03d", n), 100+n)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// write replaces a file as a whole.
func (c *cluster) write(name string, content []byte) error {
	c.changes++
	if err := os.WriteFile(c.beside, content, 0o644); err != nil {
		return err
	}
	return os.Rename(c.beside, filepath.Join(c.dir, name))
}

func (c *cluster) put(s *service) error {
	c.services[s.name] = s
	if c.api != nil {
		c.api.put(s.objects()...)
	}
	return c.write(s.name+".json", s.manifest())
}

// putNode says which zone the node is in.
func (c *cluster) putNode(zone string) error {
	if c.api != nil {
		c.api.put(nodeObjects(zone)...)
	}
	return c.write("cluster.json", list(nodeObjects(zone)...))
}

func (c *cluster) remove(name string) error {
	if c.api != nil {
		c.api.remove(c.services[name].objects()...)
	}
	delete(c.services, name)
	c.changes++
	return os.Remove(filepath.Join(c.dir, name+".json"))
}

// others names the services without traffic, in a stable order.
func (c *cluster) others() []string {
	names := slices.Sorted(maps.Keys(c.services))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "other-") })
}

// anyOther is one of them.
func (c *cluster) anyOther(r *rand.Rand) *service {
	names := c.others()
	return c.services[names[r.IntN(len(names))]]
}

// burst changes the endpoints of services, one of them each time, at most 1,000
// times a second.
func (c *cluster) burst(r *rand.Rand, changes int) error {
	start := time.Now()
	for n := range changes {
		s := c.anyOther(r)
		s.reshuffle(r)
		if n%4 == 0 {
			s = web(r)
		}
		if err := c.put(s); err != nil {
			return err
		}
		time.Sleep(time.Duration(n)*time.Millisecond - time.Since(start))
	}
	return nil
}

// replace removes services and adds others: under the same names, with their
// addresses under other names, or with ports and policies of their own.
func (c *cluster) replace(r *rand.Rand, count int) error {
	for range count {
		old := c.anyOther(r)
		if err := c.remove(old.name); err != nil {
			return err
		}
		name, number := old.name, old.number
		switch r.IntN(3) {
		case 0:
			number = 300 + r.IntN(200)
		case 1:
			name = fmt.Sprintf("other-%03d", r.IntN(2000))
		}
		if err := c.put(other(r, name, number)); err != nil {
			return err
		}
	}
	return nil
}

// spoil writes files that can't be read, or not be served: garbage, addresses that
// are none, a claim on an address of web, which is older. The returned function
// makes good what was broken.
func (c *cluster) spoil(r *rand.Rand) (mend func() error, err error) {
	victim := c.anyOther(r)
	odd := other(r, "odd", 90)
	manifest := odd.object()
	spec := manifest["spec"].(object)
	switch r.IntN(4) {
	case 0:
		spec["clusterIPs"] = []string{"10.96.300.1", "fd00::zz"}
	case 1:
		spec["ports"] = []object{{"name": "a", "protocol": "TCP", "port": 70000}, {"name": "b", "protocol": "QUIC", "port": 80}}
	case 2:
		manifest["metadata"].(object)["creationTimestamp"] = "2026-06-01T00:00:00Z"
		spec["clusterIPs"] = (&service{number: webNumber}).clusterIPs()
	case 3:
		spec["loadBalancerSourceRanges"] = []string{"everyone", "10.0.0.0/33"}
	}
	if c.api != nil { // which takes no garbage
		c.api.put(manifest, odd.slice("IPv4"))
		return func() error { return nil }, c.write("odd.json", list(manifest, odd.slice("IPv4")))
	}
	garbage := [][]byte{[]byte("{"), []byte("\x00\x01\x02"), []byte("apiVersion: v1\nkind: Service\nmetadata: ["), nil,
		victim.manifest()[:len(victim.manifest())/2]}
	for name, content := range map[string][]byte{
		"odd.json": list(manifest, odd.slice("IPv4")), "garbage.yaml": garbage[r.IntN(len(garbage))],
		victim.name + ".json": garbage[r.IntN(len(garbage))],
	} {
		if err := c.write(name, content); err != nil {
			return nil, err
		}
	}
	return func() error { return c.put(victim) }, nil
}

// touch changes every service in some way.
func (c *cluster) touch(r *rand.Rand) error {
	for _, name := range c.others() {
		s := c.services[name]
		s.reshuffle(r)
		if err := c.put(s); err != nil {
			return err
		}
	}
	w, st := web(r), sticky()
	for slices.Equal(w.endpoints, c.services["web"].endpoints) {
		w = web(r)
	}
	if len(c.services["sticky"].endpoints) == len(st.endpoints) {
		st.endpoints = st.endpoints[:len(st.endpoints)-1]
	}
	if err := c.put(w); err != nil {
		return err
	}
	return c.put(st)
}
