package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// healing is how long anything may take until it is right again. It is no
// promise: it only ends a test that would wait forever.
const healing = 2 * time.Minute

// adversary does one thing after the other to a node.
type adversary struct {
	node     *testnet.Host
	cluster  *cluster
	agent    agent
	observer *observer
	ledger   *ledger
	faults   []fault

	seed     uint64
	rng      *rand.Rand // of the step
	steps    int
	done     map[string]int // by the name of the fault
	denied   int            // commands that the kernel refused to another process
	missed   int            // commands that found nothing to damage
	restarts int
	clocks   int // starts with another clock
	limits   int // starts with a memory limit
	moves    int // changes of the node's addresses
}

// fault is a kind of step. Its run returns what must not happen.
type fault struct {
	name   string
	weight int
	run    func(a *adversary, ctx context.Context) error
}

// common are the faults of every round.
var common = []fault{
	{"endpoints changed, up to 1,000 a second", 4, (*adversary).burst},
	{"services replaced", 2, (*adversary).replace},
	{"bad manifests", 2, (*adversary).spoil},
	{"node addresses changed", 2, (*adversary).moveNode},
	{"foreign tables with thousands of chains", 1, (*adversary).crowdRuleset},
	{"agent ended by SIGTERM and started", 2, func(a *adversary, ctx context.Context) error { return a.restart(ctx, false, nil) }},
	{"table damaged", 8, (*adversary).damageTable},
}

// onProcesses are the faults that need a process.
var onProcesses = []fault{
	{"agent killed and started", 3, func(a *adversary, ctx context.Context) error { return a.restart(ctx, true, nil) }},
	{"agent killed while it starts", 2, (*adversary).killEarly},
	{"endpoints changed while no agent ran", 2, func(a *adversary, ctx context.Context) error {
		return a.restart(ctx, true, func(r *rand.Rand) error { return a.cluster.burst(r, 50+r.IntN(100)) })
	}},
	{"agent stopped for a while (SIGSTOP, SIGCONT)", 2, (*adversary).suspend},
	{"table damaged while no agent ran", 2, (*adversary).damageOrphan},
}

// step takes the next step, which the seed and its number decide.
func (a *adversary) step(ctx context.Context) error {
	a.rng = rand.New(rand.NewPCG(a.seed, uint64(a.steps)))
	a.steps++
	total := 0
	for _, f := range a.faults {
		total += f.weight
	}
	at := a.rng.IntN(total)
	for _, f := range a.faults {
		if at -= f.weight; at < 0 {
			return a.take(ctx, f)
		}
	}
	return nil
}

func (a *adversary) take(ctx context.Context, f fault) error {
	ctx, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	a.ledger.doing(f.name)
	a.done[f.name]++
	err := f.run(a, ctx)
	if err == nil && a.steps%8 == 0 {
		err = a.settle(ctx)
	}
	if err != nil {
		return fmt.Errorf("step %d, %s: %w", a.steps, f.name, err)
	}
	return nil
}

// settle waits until the agent has caught up, and compares.
func (a *adversary) settle(ctx context.Context) error {
	if err := a.observer.equal(ctx); err != nil {
		return fmt.Errorf("the table does not become what a computation from nothing gives: %w", err)
	}
	if p, ok := a.agent.(*process); ok {
		return p.settled()
	}
	return nil
}

// finish changes every service once more, and compares for the last time.
func (a *adversary) finish(ctx context.Context) error {
	a.ledger.doing("the end")
	ctx, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	if err := a.cluster.touch(rand.New(rand.NewPCG(a.seed, 1<<63))); err != nil {
		return err
	}
	return a.settle(ctx)
}

func (a *adversary) burst(context.Context) error {
	return a.cluster.burst(a.rng, 100+a.rng.IntN(400))
}

func (a *adversary) replace(context.Context) error { return a.cluster.replace(a.rng, 1+a.rng.IntN(20)) }

func (a *adversary) spoil(context.Context) error {
	mend, err := a.cluster.spoil(a.rng)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(a.rng.IntN(100)) * time.Millisecond)
	// A file that was sound keeps working for the agent that has read it, and not for
	// the next: what is computed from nothing knows only the latter.
	return mend()
}

// moveNode adds addresses to the node, or removes them the next time, and changes
// its Node.
func (a *adversary) moveNode(context.Context) error {
	n := a.moves / 2 % 100
	extra := testnet.Prefixes(fmt.Sprintf("192.0.2.%d/24", 100+n), fmt.Sprintf("2001:db8:2::1%02x/64", n))
	add := a.moves%2 == 0
	a.moves++
	if err := a.node.Do(func() error { return setAddrs(extra, add) }); err != nil {
		return err
	}
	a.observer.extra = nil
	for _, p := range extra {
		if add {
			a.observer.extra = append(a.observer.extra, p.Addr())
		}
	}
	return a.cluster.putNode([]string{"zone-a", "zone-b"}[a.rng.IntN(2)])
}

// setAddrs adds addresses to eth0 of the thread's namespace, or removes them. They
// are deprecated: the kernel would masquerade with a new IPv6 address otherwise,
// and ends the connections that it masqueraded so when the address goes.
func setAddrs(addrs []netip.Prefix, add bool) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, p := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		change := netlink.AddrDel
		if add {
			change, addr.ValidLft = netlink.AddrAdd, 24*3600
		}
		if err := change(eth0, addr); err != nil {
			return fmt.Errorf("change address %s: %w", p, err)
		}
	}
	return nil
}

// crowdRuleset loads and deletes tables of another program.
func (a *adversary) crowdRuleset(context.Context) error {
	for n := range 1 + a.rng.IntN(3) {
		add, remove := foreignTable(n, 1000+a.rng.IntN(3000))
		if err := errors.Join(a.node.LoadNFT(add), a.node.LoadNFT(remove)); err != nil {
			return err
		}
	}
	return nil
}

// start starts the agent with a clock and a memory limit as chance has it.
func (a *adversary) start() error {
	ahead, memory := 0, 0
	if _, ok := a.agent.(*process); !ok {
		return a.agent.start(0, 0)
	}
	if a.rng.IntN(3) == 0 && canSetClock() {
		ahead = 3600 * (1 + a.rng.IntN(24*30))
		a.clocks++
	}
	if a.rng.IntN(3) == 0 {
		memory = tightMemory
		a.limits++
	}
	return a.agent.start(ahead, memory)
}

// restart ends the agent and starts it again, with a pause in which something may
// be done.
func (a *adversary) restart(ctx context.Context, atOnce bool, meanwhile func(*rand.Rand) error) error {
	a.restarts++
	if err := a.agent.stop(atOnce); err != nil {
		return err
	}
	if meanwhile != nil {
		if err := meanwhile(a.rng); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(a.rng.IntN(300)) * time.Millisecond)
	if err := a.start(); err != nil {
		return err
	}
	return a.agent.ready(ctx)
}

// killEarly kills the agent again and again while it starts.
func (a *adversary) killEarly(ctx context.Context) error {
	for range 1 + a.rng.IntN(4) {
		a.restarts++
		if err := a.agent.stop(true); err != nil {
			return err
		}
		if err := a.start(); err != nil {
			return err
		}
		time.Sleep(time.Duration(a.rng.IntN(60)) * time.Millisecond)
	}
	return a.restart(ctx, true, nil)
}

// suspend stops the agent while the cluster changes.
func (a *adversary) suspend(ctx context.Context) error {
	if err := a.agent.suspend(true); err != nil {
		return err
	}
	err := a.cluster.burst(a.rng, 50+a.rng.IntN(200))
	pause(ctx, time.Duration(a.rng.IntN(500))*time.Millisecond)
	return errors.Join(err, a.agent.suspend(false))
}

// damageTable damages the table under the agent's eyes, half of the time while
// endpoints change.
func (a *adversary) damageTable(ctx context.Context) error {
	d := damages[a.rng.IntN(len(damages))]
	command := d.command(a.rng)
	changing := make(chan error, 1)
	if busy := rand.New(rand.NewPCG(a.rng.Uint64(), 0)); busy.IntN(2) == 0 {
		go func() { changing <- a.cluster.burst(busy, 50+busy.IntN(200)) }()
	} else {
		changing <- nil
	}
	w, err := a.damage(d, command)
	if w != nil {
		err = a.healed(ctx, w)
	}
	return errors.Join(err, <-changing)
}

// damageOrphan damages the table while no agent runs.
func (a *adversary) damageOrphan(ctx context.Context) error {
	d := damages[a.rng.IntN(len(damages))]
	command := d.command(a.rng)
	for a.cluster.api != nil && strings.Contains(command, "drop") {
		// Who drops all new connections of the node keeps an agent that starts there
		// from its API server, and so from the repair.
		d = damages[a.rng.IntN(len(damages))]
		command = d.command(a.rng)
	}
	d.name += ", no agent"
	var w *window
	err := a.restart(ctx, true, func(*rand.Rand) (err error) {
		w, err = a.damage(d, command)
		return err
	})
	if w == nil || err != nil {
		return err
	}
	return a.healed(ctx, w)
}

// damage runs a command of another process. It returns no window if the kernel
// refused it.
func (a *adversary) damage(d damage, command string) (*window, error) {
	a.ledger.doing(d.name)
	w := a.ledger.damage(d.name)
	err := a.node.LoadNFT(command)
	switch {
	case err == nil:
		return w, nil
	case strings.Contains(err.Error(), "not permitted"), strings.Contains(err.Error(), "not supported"):
		a.denied++
	case strings.Contains(err.Error(), "No such file"), strings.Contains(err.Error(), "exist"), strings.Contains(err.Error(), "busy"):
		a.missed++
	default:
		return nil, err
	}
	// Nothing was applied: what fails from here on is no one else's fault.
	a.ledger.drop(w)
	return nil, nil
}

// healed ends the window of a damage when the table serves again.
func (a *adversary) healed(ctx context.Context, w *window) error {
	served, err := a.observer.serving(ctx)
	if err != nil {
		return fmt.Errorf("the table does not heal: %w", err)
	}
	a.ledger.over(w, served, a.observer.gap(w.begin, served))
	return nil
}
