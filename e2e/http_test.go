package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// answer is an HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// get asks from a host, over a connection of its own.
func get(ctx context.Context, from prober, url string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: onHost(from).DialContext, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

// asking returns a function that gets a URL from a host, for Eventually.
func asking(ctx context.Context, from prober, url string) func() (int, error) {
	return func() (int, error) {
		a, err := get(ctx, from, url)
		return a.status, err
	}
}
