package scenario

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// packet is a line of a packets section: who connects to what, and what becomes
// of each combination.
type packet struct {
	from      []sender
	protocols []protocol
	to        []netip.AddrPort // port 0 for ICMP
	want      outcome
}

// sender is a host, and the port that it comes from, 0 for any.
type sender struct {
	host string
	port uint16
}

// protocol is how a packet's line spells it.
type protocol string

// Protocols beside TCP, UDP and SCTP: echo requests, and health checks.
const (
	icmp protocol = "icmp"
	http protocol = "http"
)

// outcome is what becomes of connections.
type outcome struct {
	kind  testnet.OutcomeKind // Answered if there are servers
	saw   map[string]seenAs   // by server
	oneOf bool                // the same one of them each time
}

// seenAs says which client address a server sees.
type seenAs struct {
	masqueraded bool       // another one than the client's own
	addr        netip.Addr // this one; invalid: the client's own
}

// parsePacket reads a line; see the package's documentation.
func parsePacket(line string) (packet, error) {
	var p packet
	head, want, ok := strings.Cut(line, " -> ")
	words := strings.Fields(head)
	if !ok || len(words) < 3 {
		return p, errors.New("write: HOSTS PROTOCOLS DESTINATIONS -> OUTCOME")
	}
	for _, word := range strings.Split(words[0], ",") {
		s, err := parseSender(word)
		if err != nil {
			return p, err
		}
		p.from = append(p.from, s)
	}
	for _, word := range strings.Split(words[1], ",") {
		proto := protocol(word)
		if _, ok := model.ParseProtocol(strings.ToUpper(word)); !ok && proto != icmp && proto != http {
			return p, fmt.Errorf("protocol %q is unknown", word)
		}
		p.protocols = append(p.protocols, proto)
	}
	for _, word := range words[2:] {
		to, err := parseDestination(word)
		if err != nil {
			return p, err
		}
		p.to = append(p.to, to)
	}
	var err error
	p.want, err = parseOutcome(want)
	return p, err
}

func parseSender(word string) (sender, error) {
	host, port, ok := strings.Cut(word, ":")
	if !ok {
		return sender{host: host}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return sender{host, uint16(n)}, err
}

// parseDestination reads "addr:port", or "addr" for ICMP.
func parseDestination(word string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	return netip.ParseAddrPort(word)
}

var outcomeKinds = map[string]testnet.OutcomeKind{
	"refused": testnet.Refused, "unreachable": testnet.Unreachable, "silent": testnet.Silent,
}

func parseOutcome(text string) (outcome, error) {
	text = strings.TrimSpace(text)
	if kind, ok := outcomeKinds[text]; ok {
		return outcome{kind: kind}, nil
	}
	o := outcome{kind: testnet.Answered, saw: map[string]seenAs{}}
	text, o.oneOf = strings.CutPrefix(text, "one of ")
	for _, group := range strings.Split(text, ",") {
		var saw seenAs
		var err error
		names := strings.Fields(group)
		if n := len(names); n > 1 && names[n-1] == "masqueraded" {
			saw.masqueraded, names = true, names[:n-1]
		} else if n > 2 && names[n-2] == "source" {
			saw.addr, err = netip.ParseAddr(names[n-1])
			names = names[:n-2]
		}
		if err != nil || len(names) == 0 {
			return o, fmt.Errorf("outcome %q: write servers, then masqueraded or source ADDRESS", group)
		}
		for _, name := range names {
			o.saw[name] = saw
		}
	}
	return o, nil
}

// silence is how long a probe waits where silence is wanted. Whatever answers does
// so within a millisecond, but for a busy machine, and but for a TCP client that may
// take a second to hear that it is refused (see testnet.Refused): where an answer
// is wanted there is patience.
const silence = 200 * time.Millisecond

// sendPackets makes all attempts of a step at once, and reports what became of
// them otherwise than wanted.
func sendPackets(t *testing.T, lab *testnet.Lab, packets []packet) {
	t.Helper()
	var tasks sync.WaitGroup
	for _, p := range packets {
		for _, a := range p.attempts(lab) {
			tasks.Go(func() {
				if err := p.want.hold(a); err != nil {
					t.Errorf("%s: %v", a, err)
				}
			})
		}
	}
	tasks.Wait()
}

// attempt is one combination of a packet's line.
type attempt struct {
	from     *testnet.Host
	port     uint16 // to come from; 0: any
	protocol protocol
	to       netip.AddrPort
}

func (p *packet) attempts(lab *testnet.Lab) []attempt {
	var list []attempt
	for _, from := range p.from {
		for _, proto := range p.protocols {
			for _, to := range p.to {
				list = append(list, attempt{lab.Host(from.host), from.port, proto, to})
			}
		}
	}
	return list
}

func (a attempt) String() string { return fmt.Sprintf("%s %s %s", a.from.Name(), a.protocol, a.to) }

// probe makes the attempt.
func (a attempt) probe(timeout time.Duration) testnet.Outcome {
	opts := testnet.ProbeOptions{Timeout: timeout}
	if a.port != 0 {
		// From a certain address: the wildcard of IPv6 would take the port of IPv4 too.
		own, _ := a.from.Addr(familyOf(a.to.Addr()))
		opts.Source = netip.AddrPortFrom(own, a.port)
	}
	switch a.protocol {
	case icmp:
		return ping(a.from, a.to.Addr(), opts)
	case http:
		return checkHealth(a.from, a.to)
	}
	transport, _ := model.ParseProtocol(strings.ToUpper(string(a.protocol)))
	return a.from.ProbeWith(transport, a.to, opts)
}

// hold probes until every wanted server has answered, and a few times at least,
// and compares each outcome. The probability that a fair choice from four misses
// one of them in so many attempts is below one in 10^20.
func (o *outcome) hold(a attempt) error {
	const least, most = 6, 200
	if a.port != 0 || a.protocol == http {
		return o.holdSoon(a)
	}
	timeout := patience
	if o.kind == testnet.Silent {
		timeout = silence
	}
	seen := map[string]bool{}
	for n := range most {
		got := a.probe(timeout)
		if err := o.check(got); err != nil {
			return err
		}
		seen[got.Server] = true
		if o.oneOf && len(seen) > 1 {
			return fmt.Errorf("several servers answer, want one of %v", o.servers())
		}
		if o.kind != testnet.Answered || n+1 >= least && (o.oneOf || len(seen) == len(o.saw)) {
			return nil
		}
	}
	return fmt.Errorf("only %v answer, want %v", seen, o.servers())
}

// holdSoon waits for what is done beside the proxy's loop: for conntrack to be
// cleaned, where a flow is to be led elsewhere, and for health checks. An answer
// that is under way while its flow is deleted is lost, so it does not wait long for
// each.
func (o *outcome) holdSoon(a attempt) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := o.check(a.probe(time.Second))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (o *outcome) servers() []string { return slices.Sorted(maps.Keys(o.saw)) }

func familyOf(a netip.Addr) testnet.Family {
	if a.Is4() {
		return testnet.IPv4
	}
	return testnet.IPv6
}

// check compares one outcome.
func (o *outcome) check(got testnet.Outcome) error {
	if got.Kind != o.kind {
		if o.kind == testnet.Answered {
			return fmt.Errorf("%s, want %v", got, o.servers())
		}
		return fmt.Errorf("%s, want %s", got, o.kind)
	}
	if got.Kind != testnet.Answered {
		return nil
	}
	saw, known := o.saw[got.Server]
	switch {
	case !known:
		return fmt.Errorf("%s, want %v", got, o.servers())
	case saw.masqueraded != got.Masqueraded() && !saw.addr.IsValid():
		return fmt.Errorf("%s, the client's own is %s: want masqueraded %t", got, got.Source, saw.masqueraded)
	case saw.addr.IsValid() && got.Client.Addr() != saw.addr:
		return fmt.Errorf("%s, want source %s", got, saw.addr)
	}
	return nil
}
