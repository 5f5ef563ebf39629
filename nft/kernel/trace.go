package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// TraceKind is what a traced packet met.
type TraceKind uint32

// The kinds of trace events (enum nft_trace_types).
const (
	TracePolicy TraceKind = unix.NFT_TRACETYPE_POLICY // the end of a base chain
	TraceReturn TraceKind = unix.NFT_TRACETYPE_RETURN // the end of another chain
	TraceRule   TraceKind = unix.NFT_TRACETYPE_RULE   // a rule that matched
)

// TraceEvent is one station of a packet with the trace flag.
type TraceEvent struct {
	ID      uint32 // of the packet, the same at all its stations
	Kind    TraceKind
	Family  uint8 // of the table: unix.NFPROTO_INET, ...
	Table   string
	Chain   string
	Rule    uint64      // handle of the rule
	Verdict nft.Verdict // None: the packet goes on to the next rule
	Mark    uint32
	In, Out int // index of the interfaces, 0: none

	// The headers, as they are here, in the first event of each base chain.
	Protocol           uint8 // unix.NFPROTO_IPV4 or _IPV6
	Network, Transport []byte
}

// Tracer listens to the trace events of one network namespace.
type Tracer struct {
	socket *socket
	queue  []TraceEvent
}

// Trace begins to listen.
func (c *Conn) Trace() (*Tracer, error) {
	s, err := openSocket(c.options.NetNS)
	if err != nil {
		return nil, err
	}
	if err := s.conn.JoinGroup(unix.NFNLGRP_NFTRACE); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to trace events: %w", err), s.close())
	}
	return &Tracer{socket: s}, nil
}

// Next waits for an event. It returns the context's error when that ends, and
// ErrInterrupted if events were lost because too many came.
func (t *Tracer) Next(ctx context.Context) (TraceEvent, error) {
	defer t.socket.until(ctx)()
	for len(t.queue) == 0 {
		b, err := t.socket.await()
		switch {
		case ctx.Err() != nil:
			return TraceEvent{}, ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			return TraceEvent{}, ErrInterrupted
		case err != nil:
			return TraceEvent{}, fmt.Errorf("read trace event: %w", err)
		}
		t.read(b)
	}
	e := t.queue[0]
	t.queue = t.queue[1:]
	return e, nil
}

// Close ends listening.
func (t *Tracer) Close() error { return t.socket.close() }

// read queues the events of a datagram.
func (t *Tracer) read(b []byte) {
	for {
		m, rest, ok := nextMessage(b)
		if !ok {
			return
		}
		b = rest
		if typ, _, attributes, ok := m.netfilter(); ok && typ == unix.NFT_MSG_TRACE {
			e := parseTrace(attributes)
			e.Family = m.payload[0]
			t.queue = append(t.queue, e)
		}
	}
}

func parseTrace(attributes []byte) (e TraceEvent) {
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_TRACE_ID:
			e.ID = readUint32(data)
		case unix.NFTA_TRACE_TYPE:
			e.Kind = TraceKind(readUint32(data))
		case unix.NFTA_TRACE_TABLE:
			e.Table = string(trimNUL(data))
		case unix.NFTA_TRACE_CHAIN:
			e.Chain = string(trimNUL(data))
		case unix.NFTA_TRACE_RULE_HANDLE:
			e.Rule = readUint64(data)
		case unix.NFTA_TRACE_VERDICT:
			e.Verdict = parseTraceVerdict(data)
		case unix.NFTA_TRACE_POLICY:
			e.Verdict, _ = nft.VerdictOf(int32(readUint32(data)), "")
		case unix.NFTA_TRACE_MARK:
			e.Mark = readUint32(data)
		case unix.NFTA_TRACE_IIF:
			e.In = int(readUint32(data))
		case unix.NFTA_TRACE_OIF:
			e.Out = int(readUint32(data))
		case unix.NFTA_TRACE_NFPROTO:
			e.Protocol = uint8(readUint32(data))
		case unix.NFTA_TRACE_NETWORK_HEADER:
			e.Network = append([]byte(nil), data...)
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			e.Transport = append([]byte(nil), data...)
		}
	}
	return e
}

// parseTraceVerdict reads a verdict; one that is none of package nft's is None.
func parseTraceVerdict(b []byte) nft.Verdict {
	var code int32
	var chain string
	for typ, data := range attrs(b) {
		switch typ {
		case unix.NFTA_VERDICT_CODE:
			code = int32(readUint32(data))
		case unix.NFTA_VERDICT_CHAIN:
			chain = string(trimNUL(data))
		}
	}
	v, _ := nft.VerdictOf(code, chain)
	return v
}
