package scenario

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// podPort is what each pod serves, over every protocol.
const podPort = 8080

var protocols = []model.Protocol{model.TCP, model.UDP, model.SCTP}

// newLab makes the laboratory. It takes 20 ms, so each scenario has its own, and
// none meets what another one left in conntrack.
func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	lab := testnet.ForTest(t, testnet.TwoNodes())
	for _, pod := range []string{"a1", "a2", "b1", "b2"} {
		for _, p := range protocols {
			if _, err := lab.Host(pod).Serve(p, podPort); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range testnet.Prefixes("203.0.113.0/24", "2001:db8:113::/64", "10.96.0.0/16", "fd00:10:96::/112") {
		if err := lab.Route(p, lab.Host("node-a")); err != nil {
			t.Fatal(err)
		}
	}
	return lab
}

// netCommand changes the laboratory.
type netCommand func(*testnet.Lab) error

// parseNetCommand reads a line of a net section.
func parseNetCommand(line string) (netCommand, error) {
	words := strings.Fields(line)
	switch {
	case words[0] == "serve" && len(words) == 4:
		return parseServe(words[1:])
	case words[0] == "nft" && len(words) > 2:
		ruleset := strings.ReplaceAll(strings.Join(words[2:], " "), "; ", "\n")
		return func(lab *testnet.Lab) error { return lab.Host(words[1]).LoadNFT(ruleset) }, nil
	case len(words) == 3:
		return parsePrefixCommand(words)
	}
	return nil, errors.New("no such command")
}

func parseServe(args []string) (netCommand, error) {
	host := args[0]
	p, ok := model.ParseProtocol(strings.ToUpper(args[1]))
	port, err := strconv.ParseUint(args[2], 10, 16)
	if !ok || err != nil {
		return nil, errors.New("write: serve HOST PROTOCOL PORT")
	}
	return func(lab *testnet.Lab) error {
		_, err := lab.Host(host).Serve(p, uint16(port))
		return err
	}, nil
}

func parsePrefixCommand(words []string) (netCommand, error) {
	switch verb := words[0]; verb {
	case "address", "no-address":
		prefix, err := netip.ParsePrefix(words[2])
		return func(lab *testnet.Lab) error {
			if verb == "address" {
				return lab.Host(words[1]).AddAddr(prefix)
			}
			return lab.Host(words[1]).DelAddr(prefix)
		}, err
	case "route":
		prefix, err := netip.ParsePrefix(words[1])
		return func(lab *testnet.Lab) error { return lab.Route(prefix, lab.Host(words[2])) }, err
	}
	return nil, errors.New("no such command")
}
