package manifests

import (
	"errors"
	"fmt"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Error is what is wrong with a file of manifests, or with its place among the
// others.
type Error struct {
	Path     string
	Document int // 1 is the first; 0: the file as a whole
	Line     int // 1 is the first; 0: likewise
	Err      error
}

// Error is "read shop.yaml:12: document 3: ...".
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("read %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("read %s:%d: document %d: %v", e.Path, e.Line, e.Document, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// problem is the error as the proxy is told of it.
func (e *Error) problem() model.Problem {
	if e.Line == 0 {
		return model.Problem{Field: "file", Message: e.Err.Error()}
	}
	return model.Problem{Field: fmt.Sprintf("line %d", e.Line), Message: e.Err.Error()}
}

// fileErrors are the errors that err joins, each as one of the file.
func fileErrors(path string, err error) []*Error {
	if err == nil {
		return nil
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	errs := make([]*Error, len(list))
	for i, err := range list {
		if !errors.As(err, &errs[i]) {
			errs[i] = &Error{Path: path, Err: err}
		}
	}
	return errs
}
