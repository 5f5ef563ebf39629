package cluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

func TestAddressPool(t *testing.T) {
	pool := newAddressPool(testnet.Prefixes("10.0.0.0/29", "fd00::/125"))
	take := func() []netip.Addr {
		t.Helper()
		addrs, err := pool.take()
		if err != nil {
			t.Fatal(err)
		}
		return addrs
	}
	first := take()
	if want := testnet.Addrs("10.0.0.2", "fd00::2"); !slices.Equal(first, want) {
		t.Errorf("first addresses are %v, want %v: .0 is the network's, .1 the gateway's", first, want)
	}
	pool.release(first)
	if second, want := take(), testnet.Addrs("10.0.0.3", "fd00::3"); !slices.Equal(second, want) {
		t.Errorf("next addresses are %v, want %v: freed ones come last", second, want)
	}
	for range 3 {
		take() // .4, .5, .6; .7 is IPv4's broadcast address
	}
	if last, want := take(), testnet.Addrs("10.0.0.2", "fd00::7"); !slices.Equal(last, want) {
		t.Errorf("last addresses are %v, want %v", last, want)
	}
	if _, err := pool.take(); err == nil || !strings.Contains(err.Error(), "10.0.0.0/29") {
		t.Errorf("take of an empty pool: %v, want an error that names 10.0.0.0/29", err)
	}
}
