package conntrack

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Load makes the kernel load connection tracking where it is a module that
// nothing has asked for yet, so that the sysctls exist. The kernel loads what a
// request of ctnetlink needs for any sender that has CAP_NET_ADMIN
// (net/netfilter/nfnetlink.c), with no program's help here; so one that changes
// nothing is sent, for a sum of the flows.
func Load() error {
	s, err := openSocket(0)
	if err == nil {
		defer s.close()
		err = askForStats(s)
	}
	if err != nil {
		return fmt.Errorf("load connection tracking: %w", withHint(err))
	}
	return nil
}

func askForStats(s *socket) error {
	var request buffer
	seq := s.nextSeq()
	request.end(request.begin(msgGetStats, unix.NLM_F_ACK, seq, unix.AF_UNSPEC))
	if err := s.send(request); err != nil {
		return err
	}
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		for m, rest, ok := nextMessage(b); ok; m, rest, ok = nextMessage(rest) {
			if m.seq == seq && m.typ == unix.NLMSG_ERROR {
				if e := m.errno(); e != 0 {
					return e
				}
				return nil
			}
		}
	}
}
