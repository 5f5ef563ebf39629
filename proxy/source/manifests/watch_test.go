package manifests

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// recorder is a sink that keeps what it was told.
type recorder struct {
	updates chan model.Update
	synced  chan struct{}

	services map[string]string // by name: the first cluster IP
	problems map[model.ObjectRef][]model.Problem
	deleted  []string // every Service that was ever deleted
}

func (r *recorder) Apply(u model.Update) { r.updates <- u }
func (r *recorder) Synced()              { close(r.synced) }

func (r *recorder) take(u model.Update) {
	for name, s := range u.Services {
		if s == nil {
			delete(r.services, name.String())
			r.deleted = append(r.deleted, name.String())
			continue
		}
		r.services[name.String()] = s.ClusterIPs[0].String()
	}
	for ref, p := range u.Problems {
		if r.problems[ref] = p; len(p) == 0 {
			delete(r.problems, ref)
		}
	}
}

// directoryTest is a source that runs on a directory of its own.
type directoryTest struct {
	*testing.T
	source *directory
	dir    string
	*recorder
}

// patient is for tests: nothing happens but by a change that is told.
var patient = patience{quiet: 5 * time.Millisecond, burst: 100 * time.Millisecond, empty: time.Hour, rescan: time.Hour}

// watched starts a source on a new directory, after the preparation.
func watched(t *testing.T, p patience, prepare func(dir string)) *directoryTest {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "manifests")
	src := &directory{root: dir, opts: Options{NodeName: "demo-node"}, patience: p, renames: make(chan rename, 1)}
	d := &directoryTest{t, src, dir, &recorder{updates: make(chan model.Update, 1000), synced: make(chan struct{}),
		services: map[string]string{}, problems: map[model.ObjectRef][]model.Problem{}}}
	d.mkdir("")
	prepare(dir)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- src.Run(ctx, d.recorder)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the source ended with %v", err)
		}
	})
	<-d.synced
	return d
}

func (d *directoryTest) try(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *directoryTest) path(name string) string { return filepath.Join(d.dir, name) }
func (d *directoryTest) mkdir(name string)       { d.Helper(); d.try(os.MkdirAll(d.path(name), 0o755)) }
func (d *directoryTest) remove(name string)      { d.Helper(); d.try(os.RemoveAll(d.path(name))) }

func (d *directoryTest) rename(from, to string) {
	d.Helper()
	d.try(os.Rename(d.path(from), d.path(to)))
}

func (d *directoryTest) link(target, name string) {
	d.Helper()
	d.try(os.Symlink(target, d.path(name)))
}

func (d *directoryTest) write(name, text string) {
	d.Helper()
	d.try(os.WriteFile(d.path(name), []byte(text), 0o644))
}

// replace writes a file as editors do: beside it, then in its place.
func (d *directoryTest) replace(name, text string) {
	d.Helper()
	beside := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".tmp")
	d.write(beside, text)
	d.rename(beside, name)
}

// await takes updates until the Services are those wanted, "name=ip" in order.
func (d *directoryTest) await(want ...string) {
	d.Helper()
	d.awaitThat(func() string { return cmp.Diff(slices.Sorted(slices.Values(want)), d.told()) })
}

func (d *directoryTest) told() []string {
	var list []string
	for name, ip := range d.services {
		list = append(list, strings.TrimPrefix(name, "default/")+"="+strings.TrimPrefix(ip, "10.96.0."))
	}
	slices.Sort(list)
	return list
}

func (d *directoryTest) awaitThat(missing func() string) {
	d.Helper()
	deadline := time.After(20 * time.Second)
	for missing() != "" {
		select {
		case u := <-d.updates:
			d.take(u)
		case <-deadline:
			d.Fatalf("not told in time (-want +got)\n%s", missing())
		}
	}
}

// svc is a Service with the last byte of its cluster IP.
func svc(name string, ip int) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {clusterIP: 10.96.0.%d}\n", name, ip)
}

func TestWatchFiles(t *testing.T) {
	d := watched(t, patient, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(svc("a", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if first := <-d.updates; len(first.Services) != 1 || first.ServiceCIDRs == nil {
		t.Errorf("told at first: %v", first)
	} else {
		d.take(first)
	}
	d.write("b.yml", svc("b", 2))
	d.await("a=1", "b=2")
	d.write("b.yml", svc("b", 3))
	d.await("a=1", "b=3")
	d.replace("b.yml", svc("b", 4)+svc("c", 5))
	d.await("a=1", "b=4", "c=5")
	d.write("ignored.txt", svc("x", 9))
	d.write(".hidden.yaml", svc("x", 9))
	d.rename("b.yml", "d.json")
	d.rename("d.json", "e.yaml")
	d.remove("a.yaml")
	d.await("b=4", "c=5")
	d.rename("e.yaml", "e.bak")
	d.await()
}

// Under another name other Services are taken, from files that did not change.
func TestWatchServiceProxyName(t *testing.T) {
	mine := strings.Replace(svc("mine", 2), "{name: mine}", "{name: mine, labels: {service.kubernetes.io/service-proxy-name: mine}}", 1)
	d := watched(t, patient, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(svc("a", 1)+mine), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	d.await("a=1")
	first, second := d.source.SetServiceProxyName("theirs"), d.source.SetServiceProxyName("mine")
	<-first
	<-second
	d.await("mine=2")
	d.source.SetServiceProxyName("")
	d.await("a=1")
}

func TestWatchDirectories(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.await()
	d.mkdir("x/y/z")
	d.write("x/y/z/a.yaml", svc("a", 1))
	d.await("a=1")
	d.write("x/y/b.yaml", svc("b", 2))
	d.await("a=1", "b=2")
	d.rename("x/y", "x/moved")
	d.write("x/moved/b.yaml", svc("b", 3))
	d.await("a=1", "b=3")
	d.mkdir("x/y")
	d.write("x/y/c.yaml", svc("c", 4))
	d.await("a=1", "b=3", "c=4")
	d.remove("x/moved/z")
	d.await("b=3", "c=4")
	d.mkdir("x/moved/z.yaml")
	d.write("x/moved/z.yaml/d.yaml", svc("d", 5))
	d.await("b=3", "c=4", "d=5")
	d.remove("x")
	d.await()
}

// publish writes a mounted ConfigMap as the kubelet does: a new directory, and one
// rename that makes all its files those of the mount.
func (d *directoryTest) publish(version string, files map[string]string) {
	d.Helper()
	old, _ := os.Readlink(d.path("..data"))
	d.mkdir(".." + version)
	for name, text := range files {
		d.mkdir(filepath.Join(".."+version, filepath.Dir(name)))
		d.write(filepath.Join(".."+version, name), text)
	}
	d.link(".."+version, "..data_tmp")
	d.rename("..data_tmp", "..data")
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		if err := os.Symlink(filepath.Join("..data", top), d.path(top)); err != nil && !os.IsExist(err) {
			d.Fatal(err)
		}
	}
	if old != "" {
		d.remove(old)
	}
}

func TestWatchConfigMap(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.publish("1", map[string]string{"a.yaml": svc("a", 1), "sub/b.yaml": svc("b", 1)})
	d.await("a=1", "b=1")
	for i := 2; i < 12; i++ {
		d.publish(fmt.Sprint(i), map[string]string{"a.yaml": svc("a", i), "sub/b.yaml": svc("b", i)})
		d.await(fmt.Sprintf("a=%d", i), fmt.Sprintf("b=%d", i))
	}
	if len(d.deleted) > 0 {
		t.Errorf("%v were deleted while a ConfigMap changed", d.deleted)
	}
}

func TestWatchLinks(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.mkdir("../outside/sub")
	d.write("../outside/a.yaml", svc("a", 1))
	d.write("../outside/sub/b.yaml", svc("b", 2))
	d.link("../outside/a.yaml", "a.yaml")
	d.link("../outside/sub", "sub")
	d.link(".", "loop")
	d.await("a=1", "b=2")
	d.write("../outside/a.yaml", svc("a", 3))
	d.await("a=3", "b=2")
	d.write("../outside/sub/b.yaml", svc("b", 4))
	d.await("a=3", "b=4")
	d.remove("../outside/a.yaml")
	d.await("b=4")
	d.replace("../outside/a.yaml", svc("a", 5)) // no link leads here for the watch: the target was gone
	d.remove("sub")
	d.await("a=5")
}

// A file that can't be read stays as it was, and the others work on.
func TestWatchBadFile(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.write("a.yaml", svc("a", 1))
	d.write("b.yaml", svc("b", 1))
	d.await("a=1", "b=1")
	d.write("a.yaml", svc("a", 2)+"---\na: b: c\n")
	d.write("b.yaml", svc("b", 2))
	ref := model.ObjectRef{Kind: KindFile, Name: d.path("a.yaml")}
	d.awaitThat(func() string {
		want := []model.Problem{{Field: "line 7", Message: "it is not YAML: mapping values are not allowed in this context"}}
		return cmp.Diff(want, d.problems[ref]) + cmp.Diff([]string{"a=1", "b=2"}, d.told())
	})
	d.write("a.yaml", svc("a", 3))
	d.awaitThat(func() string {
		return cmp.Diff([]model.Problem(nil), d.problems[ref]) + cmp.Diff([]string{"a=3", "b=2"}, d.told())
	})
	d.write("a.yaml", "nonsense")
	d.awaitThat(func() string { return cmp.Diff(1, len(d.problems[ref])) })
	d.remove("a.yaml")
	d.awaitThat(func() string {
		return cmp.Diff(0, len(d.problems)) + cmp.Diff([]string{"b=2"}, d.told())
	})
}

// Where two files have one object, the one whose path sorts first counts.
func TestWatchSameObjectTwice(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.write("m.yaml", svc("a", 1))
	d.await("a=1")
	d.write("z.yaml", svc("b", 9)+svc("a", 2))
	d.awaitThat(func() string {
		want := map[model.ObjectRef][]model.Problem{{Kind: KindFile, Name: d.path("z.yaml")}: {{
			Field: "line 7", Message: "Service default/a stands in " + d.path("m.yaml") + ":2 already, which counts: remove one"}}}
		return cmp.Diff(want, d.problems) + cmp.Diff([]string{"a=1", "b=9"}, d.told())
	})
	d.write("c.yaml", svc("a", 3))
	d.await("a=3", "b=9")
	d.awaitThat(func() string { return cmp.Diff(2, len(d.problems)) })
	d.remove("m.yaml")
	d.remove("c.yaml")
	d.awaitThat(func() string {
		return cmp.Diff(0, len(d.problems)) + cmp.Diff([]string{"a=2", "b=9"}, d.told())
	})
	if len(d.deleted) > 0 {
		t.Errorf("%v were deleted", d.deleted)
	}
}

// Only what changed is told.
func TestWatchTellsDifferences(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.write("a.yaml", svc("a", 1)+svc("b", 1)+svc("c", 1))
	d.await("a=1", "b=1", "c=1")
	d.replace("a.yaml", "# written anew\n"+svc("c", 1)+svc("b", 2)+svc("a", 1))
	u := <-d.updates
	if names := slices.Collect(maps.Keys(u.Services)); len(names) != 1 || names[0].Name != "b" || len(u.Slices)+len(u.Problems) > 0 || u.Node != nil || u.ServiceCIDRs != nil {
		t.Errorf("told %v, want b alone", u)
	}
}

// A file that is cut to nothing is about to be written: nothing is deleted yet.
func TestWatchEmptiedFile(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.write("a.yaml", svc("a", 1))
	d.await("a=1")
	d.write("a.yaml", "")
	d.write("b.yaml", svc("b", 1))
	d.await("a=1", "b=1")
	d.write("a.yaml", svc("a", 2))
	d.await("a=2", "b=1")

	hasty := patient
	hasty.empty = time.Millisecond
	d = watched(t, hasty, func(string) {})
	d.write("a.yaml", svc("a", 1))
	d.await("a=1")
	d.write("a.yaml", "")
	d.await()
}

func TestWatchRootComesBack(t *testing.T) {
	d := watched(t, patient, func(string) {})
	d.write("a.yaml", svc("a", 1))
	d.await("a=1")
	d.rename("", "../away")
	d.mkdir("../new")
	d.write("../new/a.yaml", svc("a", 2))
	d.rename("../new", "")
	d.await("a=2")
	d.write("b.yaml", svc("b", 1))
	d.await("a=2", "b=1")
	if len(d.deleted) > 0 {
		t.Errorf("%v were deleted while the directory was away", d.deleted)
	}
}

// What no notification tells of, as on a network's file system, is found in time.
func TestWatchWithoutNotification(t *testing.T) {
	often := patient
	often.rescan = 10 * time.Millisecond
	d := watched(t, often, func(string) {})
	d.mkdir("../far")
	d.write("../far/1.yaml", svc("a", 1))
	d.write("../far/2.yaml", svc("a", 2))
	d.link("1.yaml", "../far/hop")
	d.link("../far/hop", "a.yaml")
	d.await("a=1")
	d.link("2.yaml", "../far/hop2")
	d.rename("../far/hop2", "../far/hop")
	d.await("a=2")
}

// Whatever happens in whatever order, in the end the source has told what a fresh
// look finds.
func TestWatchRandomChanges(t *testing.T) {
	d := watched(t, patient, func(string) {})
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a.yaml", "b.json", "x/c.yaml", "x/y/d.yml", "z/e.yaml"}
	for i := range 400 {
		name := names[random.IntN(len(names))]
		switch random.IntN(8) {
		case 0, 1:
			d.remove(name)
		case 2:
			_ = os.Rename(d.path("x"), d.path("z")) // fails while z is there
		case 3:
			d.remove("z")
		case 4:
			d.mkdir(filepath.Dir(name))
			d.replace(name, svc("s"+fmt.Sprint(random.IntN(4)), 1+i%250))
		default:
			d.mkdir(filepath.Dir(name))
			d.write(name, svc("s"+fmt.Sprint(random.IntN(4)), 1+i%250)+svc("t", 1+i%250))
		}
		if random.IntN(10) == 0 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
	}
	d.write("last.yaml", svc("last", 1))
	d.awaitThat(func() string {
		update, _ := Load(d.dir, Options{NodeName: "demo-node"})
		fresh := &recorder{services: map[string]string{}, problems: map[model.ObjectRef][]model.Problem{}}
		fresh.take(update)
		return cmp.Diff(fresh.services, d.services) + cmp.Diff(fresh.problems, d.problems)
	})
}
