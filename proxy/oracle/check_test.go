package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

const (
	patience = 6 * time.Second        // for what must come
	silence  = 250 * time.Millisecond // for what must not
	// reset is how long it takes until a process hears that its own node refuses
	// its TCP connection (see testnet.Refused).
	reset = 1500 * time.Millisecond
	// attempts are enough to see each of a few backends: that one of three is not
	// drawn in so many happens once in 10^17.
	attempts = 100
)

// check tries one flow. The difference tells everything a person needs, empty if
// there is none.
func check(l *laboratory, c *Cluster, f flow) (n tally, difference string) {
	packet := l.packet(f)
	answer := c.Answer(packet)
	n.flows = 1
	switch answer.Verdict {
	case Delivered:
		difference = checkDelivered(l, f, &answer, &n)
	case NotService:
		difference = checkKind(l, f, f.otherwise, &n)
	case Refused:
		difference = checkKind(l, f, testnet.Refused, &n)
		n.refused++
	case Dropped:
		difference = checkDropped(l, f, &n)
		n.dropped++
	}
	if difference != "" {
		n.differ = 1
		difference = fmt.Sprintf("%s\n    packet   %s from %s by %q\n    oracle   %s\n    kernel   %s", f, packet.To, packet.Source, packet.Interface, &answer, difference)
	}
	return n, difference
}

func checkKind(l *laboratory, f flow, want testnet.OutcomeKind, n *tally) string {
	timeout := patience
	if want == testnet.Silent {
		timeout = silence
	}
	o, _ := l.probe(f, timeout)
	n.probes++
	if o.Kind != want {
		return fmt.Sprintf("%s, expected %s", o, want)
	}
	return ""
}

// checkDropped: nobody answers, and no backend gets the packet.
func checkDropped(l *laboratory, f flow, n *tally) string {
	timeout := silence
	if f.from == "node-a" && f.protocol == model.TCP {
		timeout = reset
	}
	var leak string
	for range 3 { // a masqueraded connection of another flow may have the same source
		o, source := l.probe(f, timeout)
		n.probes++
		if o.Kind != testnet.Silent {
			return o.String()
		}
		at, leaked := l.sniffer.sawAny(f.protocol, source, l.backends())
		if !leaked {
			return ""
		}
		leak = fmt.Sprintf("no answer, but %s got the packet", at)
	}
	return leak
}

// backends are all places where a server is.
func (l *laboratory) backends() []netip.AddrPort {
	var list []netip.AddrPort
	for at := range l.servers {
		list = append(list, at)
	}
	return list
}

// checkDelivered tries until every delivery was seen, and nothing else.
func checkDelivered(l *laboratory, f flow, a *Answer, n *tally) string {
	seen := make([]bool, len(a.Deliveries))
	timeout := patience
	if slices.ContainsFunc(a.Deliveries, func(d Delivery) bool { return !l.answers(f, d) }) {
		timeout = silence
	}
	for range attempts {
		o, source := l.probe(f, timeout)
		n.probes++
		at, difference := l.match(f, a, o, source)
		if at < 0 && o.Kind == testnet.Silent && timeout == silence {
			timeout = patience / 2 // perhaps it only takes longer
			continue
		}
		if at < 0 {
			return difference
		}
		seen[at] = true
		if !slices.Contains(seen, false) {
			if o.Kind == testnet.Silent {
				n.past++
			} else {
				n.answered++
			}
			return ""
		}
	}
	var missing []string
	for i, d := range a.Deliveries {
		if !seen[i] {
			missing = append(missing, d.Backend.String())
		}
	}
	return fmt.Sprintf("%s got none of %d connections", strings.Join(missing, ", "), attempts)
}

// answers reports whether the backend's answer passes node-a, which must put the
// addresses back. If not, the client does not understand it.
func (l *laboratory) answers(f flow, d Delivery) bool {
	return d.Sources != nil || l.isOnNode(d.Backend.Addr()) || l.isOnNode(l.packet(f).Source)
}

// keeps reports whether a backend sees the client as it is. The port of a process
// of node-a changes where a masqueraded connection has the same.
func keeps(f flow, sees, is netip.AddrPort) bool {
	return sees == is || f.from == "node-a" && sees.Addr() == is.Addr()
}

// match finds the delivery that an outcome shows.
func (l *laboratory) match(f flow, a *Answer, o testnet.Outcome, source netip.AddrPort) (at int, difference string) {
	if o.Kind == testnet.Silent {
		for i, d := range a.Deliveries {
			if _, got := l.sniffer.sawAny(f.protocol, source, []netip.AddrPort{d.Backend}); got && !l.answers(f, d) {
				return i, ""
			}
		}
		return -1, o.String()
	}
	for i, d := range a.Deliveries {
		if o.Kind != testnet.Answered || o.Server != l.servers[d.Backend] || !l.answers(f, d) {
			continue
		}
		if d.Sources == nil && keeps(f, o.Client, source) || d.Sources != nil && slices.Contains(d.Sources, o.Client.Addr()) {
			return i, ""
		}
	}
	return -1, fmt.Sprintf("%s (the client is %s)", o, o.Source)
}
