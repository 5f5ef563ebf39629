package main

import (
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// writes counts what the kernel tells of changes to the node's rulesets, whoever
// makes them.
type writes struct {
	conn  *netlink.Conn
	ended chan struct{}

	tables  int // changes of a table itself: who owns it
	content int // elements, rules, chains and sets that were added or deleted
}

// countWrites listens until stop.
func (s *stage) countWrites() (*writes, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: s.node.FD()})
	if err != nil {
		return nil, fmt.Errorf("listen to changes of the ruleset: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, fmt.Errorf("listen to changes of the ruleset: %w", err)
	}
	w := &writes{conn: conn, ended: make(chan struct{})}
	go w.run()
	return w, nil
}

func (w *writes) run() {
	defer close(w.ended)
	for {
		messages, err := w.conn.Receive()
		if err != nil {
			return
		}
		for _, m := range messages {
			switch byte(m.Header.Type) {
			case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
				w.tables++
			case unix.NFT_MSG_NEWGEN: // ends each commit
			default:
				w.content++
			}
		}
	}
}

// stop ends listening; then the counts may be read.
func (w *writes) stop() error {
	if err := w.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-w.ended
	return w.conn.Close()
}
