package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/kube-vmap/kube-vmap/proxy/health"
)

// agentClient asks the agent that runs on this node.
type agentClient struct{ address string }

func (c *agentClient) register(fs *pflag.FlagSet) {
	fs.StringVar(&c.address, "agent", health.DefaultMetricsAddress, "metrics address of the agent on this node")
}

// errNoAgent says that no agent of kube-vmap answers.
var errNoAgent = errors.New("no agent answers")

// answerTime is how long the agent may take: its loop may be loading a table.
const answerTime = 10 * time.Second

// get asks for a path.
func (c *agentClient) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", c.address, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy of the environment
	response, err := client.Do(request)
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno // the address has been said
		}
		return nil, fmt.Errorf("%w at %s: %w", errNoAgent, c.address, err)
	}
	defer response.Body.Close()
	const most = 256 << 20
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return nil, fmt.Errorf("read the agent's answer: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return body, nil
	case http.StatusNotFound: // kube-proxy, or another program
		return nil, fmt.Errorf("%w at %s: what listens there does not know %s", errNoAgent, c.address, path)
	}
	return nil, fmt.Errorf("ask the agent at %s: %s", c.address, strings.TrimSpace(string(body)))
}

// ask asks for a path that answers in JSON.
func (c *agentClient) ask(ctx context.Context, path string, answer any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("read the agent's answer to %s: %w", path, err)
	}
	return nil
}
