// Package hostaddrs watches the addresses of this host's interfaces over
// rtnetlink, for node ports that are open on the addresses in some prefixes.
package hostaddrs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source"
)

// Options of a watch.
type Options struct {
	NetNS int // descriptor of a network namespace; 0: the current one
	Log   logr.Logger
}

// New returns a source of the host's addresses: all but those of loopback,
// link-local and multicast scope.
func New(opts Options) source.Source { return &watcher{Options: opts} }

type watcher struct {
	Options
	last []netip.Addr
}

// quiet is how long a burst of changes must pause before the addresses are read;
// an interface that comes up has several.
const quiet = 2 * time.Millisecond

// retry is the pause before a lost subscription is made anew.
const retry = 200 * time.Millisecond

// Run implements source.Source. After the kernel dropped notifications it reads
// the addresses again, so nothing is missed for long.
func (w *watcher) Run(ctx context.Context, sink source.Sink) error {
	for first := true; ; first = false {
		err := w.watch(ctx, sink, first)
		switch {
		case ctx.Err() != nil:
			return nil
		case first && w.last == nil:
			return fmt.Errorf("watch host addresses: %w", err)
		}
		w.Log.Info("watching host addresses again", "after", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

// watch subscribes, reads what there is and follows changes until something fails.
func (w *watcher) watch(ctx context.Context, sink source.Sink, first bool) error {
	handle, ns, err := w.open()
	if err != nil {
		return err
	}
	defer handle.Close()
	updates := make(chan netlink.AddrUpdate, 64)
	done := make(chan struct{})
	defer func() {
		close(done)
		for range updates { // the subscription closes it
		}
	}()
	lost := make(chan error, 1)
	err = netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
		Namespace: ns,
		ErrorCallback: func(err error) {
			select {
			case lost <- err:
			default:
			}
		},
	})
	if err != nil {
		close(updates)
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := w.read(handle, sink); err != nil {
		return err
	}
	if first {
		sink.Synced()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return err
		case _, ok := <-updates:
			if !ok {
				return errors.New("the subscription ended")
			}
			drain(updates)
			if err := w.read(handle, sink); err != nil {
				return err
			}
		}
	}
}

func (w *watcher) open() (*netlink.Handle, *netns.NsHandle, error) {
	if w.NetNS == 0 {
		h, err := netlink.NewHandle()
		return h, nil, err
	}
	ns := netns.NsHandle(w.NetNS)
	h, err := netlink.NewHandleAt(ns)
	return h, &ns, err
}

// drain takes what comes until it is quiet.
func drain(updates <-chan netlink.AddrUpdate) {
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				return
			}
		case <-time.After(quiet):
			return
		}
	}
}

// read tells the sink of the addresses if they changed.
func (w *watcher) read(handle *netlink.Handle, sink source.Sink) error {
	list, err := handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && usable(addr.Unmap()) {
			addrs = append(addrs, addr.Unmap())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	if w.last != nil && slices.Equal(addrs, w.last) {
		return nil
	}
	w.last = addrs
	sink.Apply(model.Update{HostAddrs: &addrs})
	return nil
}

func usable(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}
