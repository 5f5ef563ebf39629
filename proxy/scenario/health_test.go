package scenario

import (
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// checkHealth asks as a load balancer does. The answer "200/2" is the status and
// the number of endpoints.
func checkHealth(from *testnet.Host, to netip.AddrPort) testnet.Outcome {
	transport := &nethttp.Transport{DialContext: from.DialContext, DisableKeepAlives: true}
	client := nethttp.Client{Transport: transport, Timeout: testnet.DefaultTimeout}
	response, err := client.Get("http://" + to.String() + "/")
	if err != nil {
		kind := testnet.Broken
		if errors.Is(err, unix.ECONNREFUSED) {
			kind = testnet.Refused
		}
		return testnet.Outcome{Kind: kind, Err: err}
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return testnet.Outcome{Kind: testnet.Broken, Err: err}
	}
	weight := response.Header.Get("X-Load-Balancing-Endpoint-Weight")
	return testnet.Outcome{Kind: testnet.Answered, Server: fmt.Sprintf("%d/%s", response.StatusCode, weight)}
}
