package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Collect runs sources until each has delivered all that it has, and returns that.
func Collect(ctx context.Context, sources ...source.Source) (model.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	box := newInbox()
	sinks := make([]source.Sink, len(sources))
	for i := range sources {
		sinks[i] = box.sink()
	}
	ended := make(chan error, len(sources))
	for i, s := range sources {
		go func() { ended <- s.Run(ctx, sinks[i]) }()
	}
	running := len(sources)
	defer func() {
		cancel()
		for range running {
			<-ended //nolint:errcheck // they were told to end
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return model.Update{}, fmt.Errorf("read all objects: %w", ctx.Err())
		case err := <-ended:
			running--
			if err == nil {
				err = errors.New("a source ended")
			}
			return model.Update{}, fmt.Errorf("read all objects: %w", err)
		case <-box.poke:
			if box.complete() {
				u, _ := box.take()
				return u, nil
			}
		}
	}
}
