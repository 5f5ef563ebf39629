package manifests

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// KindFile is the kind in the ObjectRef of problems with a file of manifests; its
// name is the file's path.
const KindFile = "File"

// catalog is what all the files say. Where several have one object, the first in
// the order of their paths counts, whatever the order they were read in.
type catalog struct {
	files  map[string]*file
	claims map[model.ObjectRef][]*object // by path and line; the first counts
	ledger *source.Ledger
	log    logr.Logger
}

// file is what one file said when it was last sound.
type file struct {
	stamp
	objects  []object
	failure  error           // why it can't be read now
	errs     []*Error        // failure, and what is wrong among the files
	problems []model.Problem // of errs
}

func newCatalog(log logr.Logger) *catalog {
	c := &catalog{
		files:  make(map[string]*file),
		claims: make(map[model.ObjectRef][]*object),
		ledger: source.NewLedger(),
		log:    log,
	}
	c.ledger.TellServiceCIDRs() // that there are none is known
	return c
}

// file is the file of that path, which is new if it is not known.
func (c *catalog) file(path string) *file {
	f := c.files[path]
	if f == nil {
		f = new(file)
		c.files[path] = f
	}
	return f
}

// put makes the objects all that the file says.
func (c *catalog) put(path string, objects []object) {
	f := c.file(path)
	before := f.objects
	f.objects, f.failure = objects, nil
	c.replace(path, before, objects)
}

// fail notes that the file can't be read. What it said before stays in force.
func (c *catalog) fail(path string, err error) {
	c.file(path).failure = err
	c.tell(path)
}

// remove forgets a file.
func (c *catalog) remove(path string) {
	f := c.files[path]
	if f == nil {
		return
	}
	delete(c.files, path)
	c.replace(path, f.objects, nil)
}

// replace exchanges the claims of a file and settles what they were about.
func (c *catalog) replace(path string, before, after []object) {
	touched := make(map[model.ObjectRef]bool, len(after))
	for i := range before {
		ref := before[i].Ref
		touched[ref] = true
		c.claims[ref] = slices.DeleteFunc(c.claims[ref], func(o *object) bool { return o.path == path })
	}
	for i := range after {
		o := &after[i]
		touched[o.Ref] = true
		at, _ := slices.BinarySearchFunc(c.claims[o.Ref], o, compareClaims)
		c.claims[o.Ref] = slices.Insert(c.claims[o.Ref], at, o)
	}
	told := map[string]bool{path: true}
	for ref := range touched {
		c.settle(ref)
		for _, o := range c.claims[ref] {
			told[o.path] = true
		}
	}
	for path := range told {
		c.tell(path)
	}
}

func compareClaims(a, b *object) int {
	return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.document, b.document), cmp.Compare(a.line, b.line))
}

// settle enters what counts for an object into the ledger.
func (c *catalog) settle(ref model.ObjectRef) {
	var first source.Object
	if claims := c.claims[ref]; len(claims) > 0 {
		first = claims[0].Object
	} else {
		delete(c.claims, ref)
	}
	first.Ref = ref
	c.ledger.Set(first)
}

// tell enters and logs the errors of a file: why it can't be read, and which of its
// objects don't count.
func (c *catalog) tell(path string) {
	f := c.files[path]
	if f == nil {
		f = new(file)
	}
	f.errs = append(fileErrors(path, f.failure), c.doubles(f)...)
	problems := make([]model.Problem, len(f.errs))
	for i, err := range f.errs {
		problems[i] = err.problem()
	}
	known := f.problems
	f.problems = problems
	for i, p := range problems {
		if !slices.Contains(known, p) {
			c.log.Error(f.errs[i], "Left out manifests", "file", path)
		}
	}
	c.ledger.SetProblems(model.ObjectRef{Kind: KindFile, Name: path}, problems)
}

// doubles are the errors of objects that another file, or an earlier place in this
// one, has already.
func (c *catalog) doubles(f *file) []*Error {
	var errs []*Error
	for i := range f.objects {
		o := &f.objects[i]
		if first := c.claims[o.Ref][0]; first != o {
			err := fmt.Errorf("%s stands in %s:%d already, which counts: remove one", o.Ref, first.path, first.line)
			errs = append(errs, &Error{Path: o.path, Document: int(o.document), Line: int(o.line), Err: err})
		}
	}
	return errs
}

// err joins the errors of all files, in the order of their paths.
func (c *catalog) err() error {
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		for _, err := range c.files[path].errs {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
