package nft

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// exampleTable has all that is printed in different ways.
func exampleTable() *Table {
	frontend := Types{IPv4Addr, InetProto, InetService}
	http := addr("10.0.0.1").Protocol(TCP).Port(80)
	vmap := NewRule(Vmap("services4", IPDaddr, L4Proto, ThDport))
	unloadable := NewRule(Update("affinity4", []Field{IPSaddr}, time.Hour, []Field{IPDaddr}))
	unloadable.Unloadable = "nft can't load this"
	return &Table{
		Name: "example", Owned: true, Persist: true,
		Sets: []*Set{
			{Name: "services4", Key: frontend, Verdicts: true, Counters: true, Elements: []Element{
				{Key: http, Verdict: GotoChain("lb4-1"), Comment: "shop/cart :", Packets: 7},
				{Key: addr("10.0.0.1").Protocol(TCP).Port(8), Verdict: Verdict{Kind: Drop}},
			}},
			{Name: "backends4", Key: append(frontend[:3:3], Mark), Data: Types{IPv4Addr, InetService}, Size: 64,
				LoadTypeof: "ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport", Elements: []Element{
					{Key: http.Mark(256), Data: addr("10.1.0.2").Port(8080)},
					{Key: http.Mark(2), Data: addr("10.1.0.1").Port(8080)},
				}},
			{Name: "affinity4", Key: Types{IPv4Addr}, Data: Types{IPv4Addr}, Dynamic: true, Size: 10, Elements: []Element{
				{Key: addr("1.1.1.1"), Data: addr("10.1.0.1"), Timeout: 3 * time.Hour, Expires: 90*time.Second + 5, Comment: "a : b"},
			}},
			{Name: "cidrs4", Key: Types{IPv4Addr}, Interval: true, Elements: []Element{
				{Key: addr("10.0.0.0"), KeyEnd: addr("10.255.255.255")},
				{Key: addr("11.0.0.1"), KeyEnd: addr("11.0.0.1")},
				{Key: addr("11.0.0.2"), KeyEnd: addr("11.0.0.9")},
				{Key: addr("0.0.0.0"), KeyEnd: addr("0.0.0.0")},
			}},
			{Name: "empty6", Key: Types{IPv6Addr}},
		},
		Chains: []*Chain{
			{Name: "lb4-1", Rules: []Rule{unloadable}},
			{Name: "prerouting", Base: &Base{Type: NATChain, Hook: Prerouting, Priority: -105}, Rules: []Rule{vmap, vmap}},
			{Name: "input", Base: &Base{Type: FilterChain, Hook: Input, Drops: true}, Rules: []Rule{{ReadBytecode: []byte{1}}}},
		},
	}
}

const exampleText = `table inet example {
	map services4 {
		type ipv4_addr . inet_proto . inet_service : verdict
		counter
		elements = { 10.0.0.1 . tcp . 8 : drop,
			     10.0.0.1 . tcp . 80 comment "shop/cart :" : goto lb4-1 }
	}

	map backends4 {
		typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport
		size 64
		elements = { 10.0.0.1 . tcp . 80 . 0x00000002 : 10.1.0.1 . 8080,
			     10.0.0.1 . tcp . 80 . 0x00000100 : 10.1.0.2 . 8080 }
	}

	map affinity4 {
		type ipv4_addr : ipv4_addr
		size 10
		flags dynamic,timeout
		elements = { 1.1.1.1 timeout 3h expires 1m30s comment "a : b" : 10.1.0.1 }
	}

	set cidrs4 {
		type ipv4_addr
		flags interval
		elements = { 0.0.0.0,
			     10.0.0.0/8,
			     11.0.0.1,
			     11.0.0.2-11.0.0.9 }
	}

	set empty6 {
		type ipv6_addr
	}

	chain lb4-1 {
		# nft can't load this: update @affinity4 { ip saddr timeout 1h : ip daddr }
	}

	chain prerouting {
		type nat hook prerouting priority -105; policy accept;
		ip daddr . meta l4proto . th dport vmap @services4
		ip daddr . meta l4proto . th dport vmap @services4
	}

	chain input {
		type filter hook input priority 0; policy drop;
		# 1 bytes of bytecode
	}
}
`

func TestTableText(t *testing.T) {
	if diff := cmp.Diff(exampleText, exampleTable().Text()); diff != "" {
		t.Error(diff)
	}
}

// TestTableTextIsStable prints the same whatever the order of elements.
func TestTableTextIsStable(t *testing.T) {
	table := exampleTable()
	for _, s := range table.Sets {
		for i, j := 0, len(s.Elements)-1; i < j; i, j = i+1, j-1 {
			s.Elements[i], s.Elements[j] = s.Elements[j], s.Elements[i]
		}
	}
	if diff := cmp.Diff(exampleText, table.Text()); diff != "" {
		t.Error(diff)
	}
}

func TestIntervalText(t *testing.T) {
	s := &Set{Key: Types{IPv4Addr}, Interval: true}
	for _, tt := range []struct{ first, last, text string }{
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"128.0.0.0", "255.255.255.255", "128.0.0.0/1"},
		{"10.0.0.0", "10.0.0.255", "10.0.0.0/24"},
		{"10.0.0.2", "10.0.0.3", "10.0.0.2/31"},
		{"10.0.0.1", "10.0.0.2", "10.0.0.1-10.0.0.2"},
		{"10.0.0.0", "10.0.0.254", "10.0.0.0-10.0.0.254"},
		{"10.0.0.1", "10.0.0.255", "10.0.0.1-10.0.0.255"},
		{"10.0.0.0", "10.0.1.0", "10.0.0.0-10.0.1.0"},
		{"10.0.0.5", "10.0.0.5", "10.0.0.5"},
	} {
		e := Element{Key: addr(tt.first), KeyEnd: addr(tt.last)}
		if got := e.Text(s); got != tt.text {
			t.Errorf("%s to %s is %q, want %q", tt.first, tt.last, got, tt.text)
		}
	}
	wide := &Set{Key: Types{InetProto, InetService, IPv6Addr}, Interval: true}
	key := func(port uint16, last string) Value {
		return Value{}.Protocol(TCP).Port(port).Addr(netip.MustParseAddr(last))
	}
	e := Element{Key: key(80, "fd00::"), KeyEnd: key(90, "fd00::ffff"), Comment: "x"}
	if got, want := e.Text(wide), `tcp . 80-90 . fd00::/112 comment "x"`; got != want {
		t.Errorf("interval of a concatenation is %q, want %q", got, want)
	}
}

func TestTimeText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		500 * time.Millisecond:  "500ms",
		time.Second:             "1s",
		1500 * time.Millisecond: "1s500ms",
		3 * time.Hour:           "3h",
		26*time.Hour + 3*time.Minute + 4*time.Second: "1d2h3m4s",
	} {
		if got := timeText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
