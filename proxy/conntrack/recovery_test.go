package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// A connection that began while nothing was translated is served after all; what is
// answered, and what goes elsewhere, stays.
func TestRecover(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rules := []string{
		"ip daddr 10.96.0.10 meta l4proto { tcp, udp, sctp } th dport 53 dnat ip to 10.244.0.11:8080",
		"ip6 daddr fd00:96::10 meta l4proto { tcp, udp, sctp } th dport 53 dnat ip6 to [fd00:10:244::11]:8080",
	}
	var frontends []model.FrontendKey
	for _, vip := range []string{"10.96.0.10:53", "[fd00:96::10]:53"} {
		at := netip.MustParseAddrPort(vip)
		for _, p := range []model.Protocol{model.TCP, model.UDP, model.SCTP} {
			frontends = append(frontends, model.FrontendKey{Addr: at.Addr(), Port: at.Port(), Protocol: p})
		}
	}
	for _, name := range []string{"tcp_timeout_close", "sctp_timeout_closed"} { // that of closed connections is 10 s
		if err := s.node.SetSysctl("net/netfilter/nf_conntrack_"+name, "600"); err != nil {
			t.Fatal(err)
		}
	}
	s.translate(t, rules...)
	for _, k := range frontends {
		if o := s.probe(k.Protocol, 20001, destination(k), timeout); o.Server != "a1" {
			t.Fatalf("%s: %s", k, o)
		}
	}
	s.send(model.TCP, 20001, "10.96.0.11:53")
	stay := s.list(t)

	s.translate(t) // nothing
	for _, k := range frontends {
		s.send(k.Protocol, 20002, destination(k))
	}
	s.translate(t, rules...)
	for _, k := range frontends {
		if o := s.send(k.Protocol, 20002, destination(k)); o.Server != "" {
			t.Fatalf("%s with a flow from before: %s; nothing to recover from?", k, o)
		}
	}
	r := s.run(t)
	r.Recover(frontends)
	r.awaitDeleted(t, int64(len(frontends)))
	if diff := cmp.Diff(stay, s.list(t), cmpopts.EquateComparable(listed{})); diff != "" {
		t.Errorf("flows left (-want +got):\n%s", diff)
	}
	for _, k := range frontends {
		if o := s.probe(k.Protocol, 20002, destination(k), timeout); o.Server != "a1" {
			t.Errorf("%s after the recovery: %s", k, o)
		}
	}
	r.awaitRecovered(t)
}

// A flow that is translated may be on its way when the first pass meets it: it goes
// if nobody has answered it until the second.
func TestRecoverTranslated(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.translate(t, "ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.0.77:8080") // nobody there
	s.send(model.UDP, 20003, "10.96.0.10:53")
	stay := s.list(t)
	r := s.run(t)
	r.Recover([]model.FrontendKey{udp("10.96.0.10:53").Key})
	await(t, "the first pass", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.recovery == nil || r.recovery.passes < passesPerRequest
	})
	if diff := cmp.Diff(stay, s.list(t), cmpopts.EquateComparable(listed{})); diff != "" {
		t.Errorf("flows left by the first pass (-want +got):\n%s", diff)
	}
	r.awaitDeleted(t, 1)
	r.awaitRecovered(t)
}

func destination(k model.FrontendKey) string { return netip.AddrPortFrom(k.Addr, k.Port).String() }

// awaitRecovered waits until the recovery is carried out, with its repetition.
func (r *running) awaitRecovered(t testing.TB) {
	t.Helper()
	await(t, "the recovery carried out", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.recovery == nil
	})
}

// A recovery is carried out twice, and one that comes meanwhile begins anew.
func TestRecoveryReplaced(t *testing.T) {
	c := New(Options{})
	keys := []model.FrontendKey{udp("10.96.0.10:53").Key}
	c.Recover(keys)
	now := time.Now()
	w := c.take(now)
	c.Recover(keys)
	c.done(&w, now)
	if c.recovery.passes != passesPerRequest {
		t.Error("a recovery that came during a pass was counted as done by it")
	}
	for range passesPerRequest {
		now = now.Add(repeatAfter)
		if w = c.take(now); w.recovery == nil {
			t.Fatal("nothing to do")
		}
		c.done(&w, now)
		if early := c.take(now); !early.isEmpty() {
			t.Error("repeated early")
		}
	}
	if c.recovery != nil {
		t.Error("a recovery is not over after two passes")
	}
}
