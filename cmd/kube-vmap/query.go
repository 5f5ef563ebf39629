package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/kube-vmap/kube-vmap/proxy/explain"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// parseQuery reads ADDRESS:PORT[/PROTOCOL] and the address of --from, which may be
// empty.
func parseQuery(to, from string) (q explain.Query, err error) {
	if q.To, err = parseFrontend(to); err != nil {
		return q, err
	}
	if from == "" {
		return q, nil
	}
	if q.From, err = netip.ParseAddr(from); err != nil {
		return q, fmt.Errorf("--from=%s: is no address", from)
	}
	if q.From.Is4() != q.To.Addr.Is4() {
		return q, fmt.Errorf("--from=%s: is of another family than %s", from, q.To.Addr)
	}
	return q, nil
}

func parseFrontend(text string) (k model.FrontendKey, err error) {
	endpoint, protocol, _ := strings.Cut(text, "/")
	ok := false
	if k.Protocol, ok = model.ParseProtocol(strings.ToUpper(protocol)); !ok {
		return k, fmt.Errorf("%q: the protocol must be tcp, udp or sctp", text)
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return k, fmt.Errorf("%q: must be ADDRESS:PORT, such as 10.96.0.10:53/udp or [fd00:10:96::a]:53/udp", text)
	}
	if k.Addr, err = netip.ParseAddr(host); err != nil {
		return k, fmt.Errorf("%q: %q is no address; of a Service take one that \"kube-vmap services\" lists", text, host)
	}
	k.Addr = k.Addr.Unmap()
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return k, fmt.Errorf("%q: the port must be from 1 to 65535", text)
	}
	k.Port = uint16(number)
	return k, nil
}

// frontendPath is the path at which the agent tells the objects about a frontend.
func frontendPath(k model.FrontendKey) string {
	return "/objects?to=" + url.QueryEscape(k.String())
}
