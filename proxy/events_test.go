package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/nft/kernel/kerneltest"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// diary keeps events.
type diary struct {
	mu     sync.Mutex
	events []string
}

func (d *diary) Event(object model.ObjectRef, kind proxy.EventKind, reason, message string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, fmt.Sprintf("%s %s %s: %s", object, kind, reason, message))
}

// has reports whether there is exactly one event that begins so.
func (d *diary) has(prefix string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, e := range d.events {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n == 1
}

func (d *diary) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = nil
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.events, "\n")
}

// TestEvents: people hear of what is wrong, once, on the object that it is about.
func TestEvents(t *testing.T) {
	ns := kerneltest.Namespace(t)
	conn, err := kernel.Dial(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	old, young := otherService("old", "10.96.0.5"), otherService("young", "10.96.0.5")
	young.Created = old.Created.Add(time.Hour)
	old.LoadBalancerIPs = testnet.Addrs("203.0.113.1", "2001:db8::1")
	old.SourceRanges = testnet.Prefixes("198.51.100.0/24")
	f := newFeed(model.Update{
		Services: map[model.ServiceName]*model.Service{old.Name: old, young.Name: young},
		Node:     &model.Node{Name: "node-a"},
		Problems: map[model.ObjectRef][]model.Problem{
			{Kind: "Service", Namespace: "shop", Name: "odd"}: {{Field: "spec.externalIPs[0]", Message: "is no address"}},
		},
	})
	p := proxy.New(nodeConfig(), conn, testr.New(t), f)
	events := &diary{}
	p.Instrument(proxy.Instruments{Events: events})
	p.RepairForeignChanges(conn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	want := []string{
		"Service shop/odd Warning Quarantined: spec.externalIPs[0]: is no address",
		"Service shop/young Warning FrontendConflict: 10.96.0.5:80/TCP belongs to the older Service shop/old",
		"Service shop/old Warning SourceRangesOfOtherFamily: 2001:db8::1 is open to everyone",
		"Node node-a Normal Started: the nftables table inet kube-vmap is complete; Services: 2",
	}
	missing := func() string {
		for _, w := range want {
			if !events.has(w) {
				return fmt.Sprintf("no event (or several) %q among\n%s", w, events)
			}
		}
		return ""
	}
	eventually(t, missing)
	ns.Nft(t, "flush", "ruleset")
	want = append(want, `Node node-a Warning ForeignChange: `) // named, once the proxy watches
	eventually(t, missing)
	events.forget()
	ns.Nft(t, "flush", "ruleset")
	want = []string{`Node node-a Warning ForeignChange: process "nft"`}
	eventually(t, missing)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	conn.Close()
}
