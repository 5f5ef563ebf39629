package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Writes counts what was written to the nf_tables of a node, as the kernel
// notifies it.
type Writes struct {
	Generations int  `json:"generations"` // commits
	Elements    int  `json:"elements"`    // added or deleted
	Rules       int  `json:"rules"`
	Others      int  `json:"others"`         // tables, chains, sets, objects
	OfChange    int  `json:"of_change"`      // of these, those that the one changed Service explains
	Lost        bool `json:"lost,omitempty"` // notifications were lost: there were more
}

// Total is all but commits, without what the change explains.
func (w Writes) Total() int { return w.Elements + w.Rules + w.Others - w.OfChange }

// listener counts notifications, on a socket of its own (NFNLGRP_NFTABLES).
type listener struct {
	fd   int
	mark []byte // in events of the Service that was changed on purpose
	quit chan struct{}
	task sync.WaitGroup
	got  Writes
}

// listen begins to count on a node. Events with mark in them are told apart.
func listen(node *testnet.Host, mark []byte) (*listener, error) {
	l := &listener{mark: mark, quit: make(chan struct{})}
	err := node.Do(func() (err error) {
		l.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen to nf_tables: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<30),
		unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(l.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen to nf_tables: %w", err), unix.Close(l.fd))
	}
	l.task.Go(l.run)
	return l, nil
}

func (l *listener) run() {
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(l.fd, buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			l.got.Lost = true
		case err == nil:
			l.count(buf[:n])
		case l.stopped():
			return
		}
	}
}

func (l *listener) stopped() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// count goes through the messages of a datagram: struct nlmsghdr and nfgenmsg,
// then attributes.
func (l *listener) count(b []byte) {
	const header = 20
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint32(b))
		if size < header || size > len(b) {
			return
		}
		l.event(uint16(b[4]), b[header:size]) // the low byte is the type of nf_tables
		b = b[min((size+3)&^3, len(b)):]
	}
}

func (l *listener) event(kind uint16, attributes []byte) {
	n := 1
	switch kind {
	case unix.NFT_MSG_NEWGEN:
		l.got.Generations++
		return
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		n = elementsIn(attributes)
		l.got.Elements += n
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		l.got.Rules++
	default:
		l.got.Others++
	}
	if bytes.Contains(attributes, l.mark) {
		l.got.OfChange += n
	}
}

// elementsIn counts the entries of the list of elements in a message.
func elementsIn(attributes []byte) (n int) {
	const elements = 3 // NFTA_SET_ELEM_LIST_ELEMENTS
	for typ, data := range attributesOf(attributes) {
		if typ == elements {
			for range attributesOf(data) {
				n++
			}
		}
	}
	return n
}

// attributesOf goes through netlink attributes.
func attributesOf(b []byte) func(yield func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// stop reads what is left and tells the count.
func (l *listener) stop() Writes {
	time.Sleep(100 * time.Millisecond)
	close(l.quit)
	l.task.Wait()
	_ = unix.Close(l.fd)
	return l.got
}
