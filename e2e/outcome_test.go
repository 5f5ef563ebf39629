package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/gomega"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// outcome is what shall become of connections.
type outcome struct {
	kind    testnet.OutcomeKind
	servers []string // that answer, each of them sometimes
	one     bool     // always the same one of servers
	source  source
}

// source is whose address the servers see.
type source uint8

const (
	anySource source = iota
	ownSource
	masqueraded
)

func (s source) String() string { return [...]string{"any", "the client's own", "masqueraded"}[s] }

// answeredBy expects that these servers answer, each of them sometimes.
func answeredBy(servers ...string) outcome {
	slices.Sort(servers)
	return outcome{kind: testnet.Answered, servers: servers}
}

// answeredByOneOf expects that always the same one answers.
func answeredByOneOf(servers ...string) outcome {
	o := answeredBy(servers...)
	o.one = true
	return o
}

// withOwnSource expects that servers see the client's own address.
func (o outcome) withOwnSource() outcome { o.source = ownSource; return o }

// masqueraded expects that servers see another address.
func (o outcome) masqueraded() outcome { o.source = masqueraded; return o }

// refused is a TCP reset or an ICMP port unreachable, unreachable any other ICMP
// error, silent no answer at all.
var (
	refused     = outcome{kind: testnet.Refused}
	unreachable = outcome{kind: testnet.Unreachable}
	silent      = outcome{kind: testnet.Silent}
)

// probes is how many are made: enough that one of the servers is missed, or one
// that should not answer escapes, about once in a million times.
func (o outcome) probes() int {
	if o.kind != testnet.Answered {
		return 1
	}
	return 4 + 14*len(o.servers)
}

func (o outcome) timeout() time.Duration {
	if o.kind == testnet.Silent {
		return 300 * time.Millisecond
	}
	return testnet.DefaultTimeout
}

// expect waits until connections from each source to each destination end as
// wanted, all in one round.
func expect(ctx context.Context, sources []prober, p testnet.Protocol, to []netip.AddrPort, want outcome) {
	expectOffset(ctx, 1, sources, p, to, want)
}

func expectOffset(ctx context.Context, offset int, sources []prober, p testnet.Protocol, to []netip.AddrPort, want outcome) {
	ExpectWithOffset(offset+1, sources).NotTo(BeEmpty(), "no source")
	ExpectWithOffset(offset+1, to).NotTo(BeEmpty(), "no destination")
	if lab == nil && p != testnet.TCP && want.kind == testnet.Refused {
		leaveOut("clients that learn of ICMP errors")
	}
	EventuallyWithOffset(offset+1, func() error { return tryAll(sources, p, to, want) }).WithContext(ctx).Should(Succeed())
}

// tryAll tries each source with each destination, side by side.
func tryAll(sources []prober, p testnet.Protocol, to []netip.AddrPort, want outcome) error {
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(sources)*len(to))
	)
	for i, host := range sources {
		for j, dst := range to {
			wg.Go(func() {
				if err := try(host, p, dst, want); err != nil {
					errs[i*len(to)+j] = fmt.Errorf("%s -> %s %s: %w", host.Name(), p, dst, err)
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// try makes the probes from one source to one destination.
func try(host prober, p testnet.Protocol, dst netip.AddrPort, want outcome) error {
	seen := map[string]bool{}
	for range want.probes() {
		got := host.ProbeWith(p, dst, testnet.ProbeOptions{Timeout: want.timeout()})
		if err := want.check(got); err != nil {
			return err
		}
		seen[got.Server] = true
	}
	if want.kind != testnet.Answered {
		return nil
	}
	return want.checkServers(slices.Sorted(maps.Keys(seen)))
}

func (o outcome) check(got testnet.Outcome) error {
	switch {
	case got.Kind != o.kind:
		return fmt.Errorf("%v, want %v", got, o.kind)
	case o.kind != testnet.Answered:
		return nil
	case !slices.Contains(o.servers, got.Server):
		return fmt.Errorf("%s answered, want %s", got.Server, strings.Join(o.servers, ", "))
	case o.source == ownSource && got.Masqueraded(), o.source == masqueraded && !got.Masqueraded():
		return fmt.Errorf("%s saw %s, the client is %s, want %v", got.Server, got.Client, got.Source, o.source)
	}
	return nil
}

func (o outcome) checkServers(seen []string) error {
	switch {
	case o.one && len(seen) != 1:
		return fmt.Errorf("%s answered, want one of them only", strings.Join(seen, ", "))
	case !o.one && !slices.Equal(seen, o.servers):
		return fmt.Errorf("only %s answered, want %s", strings.Join(seen, ", "), strings.Join(o.servers, ", "))
	}
	return nil
}

// expectNoAnswer waits until no connection is answered: where nobody serves an
// address, the network says what becomes of it.
func expectNoAnswer(ctx context.Context, sources []prober, to []netip.AddrPort) {
	EventuallyWithOffset(1, func() error {
		for _, host := range sources {
			for _, dst := range to {
				got := host.ProbeWith(testnet.TCP, dst, testnet.ProbeOptions{Timeout: 300 * time.Millisecond})
				if got.Kind == testnet.Answered {
					return fmt.Errorf("%s -> %s: %v, want no answer", host.Name(), dst, got)
				}
			}
		}
		return nil
	}).WithContext(ctx).Should(Succeed())
}

func must(err error) { ExpectWithOffset(1, err).NotTo(HaveOccurred()) }
