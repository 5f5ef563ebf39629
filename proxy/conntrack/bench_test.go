package conntrack

import (
	"net/netip"
	"testing"
)

// BenchmarkDump reads 20,000 flows of 200 frontends, of which one may be asked for.
func BenchmarkDump(b *testing.B) {
	s := newSite(b)
	s.translate(b, "ip daddr 10.97.0.0/16 udp dport 53 dnat ip to 10.244.0.11:8080")
	vips := make([]netip.AddrPort, 200)
	for i := range vips {
		vips[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 97, 0, byte(i)}), 53)
	}
	s.flood(b, 100, vips...)
	k := &ctnetlink{netns: s.node.FD()}
	defer k.close()
	for _, c := range []struct {
		name   string
		filter filter
	}{
		{"UDP", filter{family: ipv4}},
		{"port", filter{family: ipv4, port: 53}},
		{"frontend", filter{family: ipv4, port: 53, addr: vips[7].Addr()}},
		{"other family", filter{family: ipv6}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			flows := 0
			for b.Loop() {
				flows = 0
				if err := k.dump(c.filter, func(*flow) error { flows++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(flows), "flows")
		})
	}
}
