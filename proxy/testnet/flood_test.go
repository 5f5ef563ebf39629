package testnet

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

func TestFlood(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	serve(t, lab, 80, "a1")
	for _, f := range families {
		ctx, cancel := context.WithCancel(t.Context())
		flood := lab.Host("client").Flood(ctx, FloodOptions{Dst: at(t, lab.Host("a1"), f, 80)})
		for flood.Report().Opened < 200 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		r := flood.Wait()
		if r.Failed != 0 || r.Servers["a1"] != r.Opened || r.Latency.Count() != r.Opened || r.Latency.Quantile(0.5) == 0 {
			t.Errorf("flood over %s: %s, servers %v", f, r, r.Servers)
		}
	}
}

// A flood goes on through failures and tells when they were.
func TestFloodFailures(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	server, err := lab.Host("a1").Serve(TCP, 80)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	source := at(t, lab.Host("client"), IPv4, 0).Addr()
	flood := lab.Host("client").Flood(ctx, FloodOptions{
		Dst: at(t, lab.Host("a1"), IPv4, 80), Workers: 2, Rate: 500, Source: source})
	for flood.Report().Opened < 10 {
		time.Sleep(time.Millisecond)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for flood.Report().Failed < 20 {
		time.Sleep(time.Millisecond)
	}
	serve(t, lab, 80, "a1")
	for before := flood.Report().Opened; flood.Report().Opened < before+10; {
		time.Sleep(time.Millisecond)
	}
	cancel()
	r := flood.Wait()
	last := r.Errors[len(r.Errors)-1]
	if len(r.Errors) != keptErrors || last.Kind != Refused || !r.FirstFailure.Before(r.LastFailure) {
		t.Errorf("flood: %s; kept %d failures, from %s to %s", r, len(r.Errors), r.FirstFailure, r.LastFailure)
	}
}

func TestHold(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	serve(t, lab, 80, "a1")
	for _, p := range []Protocol{TCP, UDP} {
		ctx, cancel := context.WithCancel(t.Context())
		hold, err := lab.Host("client").Hold(ctx, HoldOptions{
			Protocol: p, Dst: at(t, lab.Host("a1"), IPv6, 80), Connections: 5, Interval: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		for hold.Report().Pings < 50 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if r := hold.Wait(); r.Failed != 0 || r.Moved != 0 || r.Servers["a1"] != 5 {
			t.Errorf("%s: %s, servers %v", p, r, r.Servers)
		}
	}
	_, err := lab.Host("client").Hold(t.Context(), HoldOptions{Dst: at(t, lab.Host("a1"), IPv6, 81)})
	if classify(err) != Refused {
		t.Errorf("a conversation with a closed port: %v; want refused", err)
	}
}

// A TCP conversation whose server goes is counted as failed once; a UDP flow
// that another server answers has moved.
func TestHoldBreaks(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	pod := lab.Host("a1")
	for _, p := range []Protocol{TCP, UDP} {
		dst := at(t, pod, IPv4, 80)
		old, err := pod.ServeAs("old", p, dst)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hold, err := lab.Host("client").Hold(ctx, HoldOptions{Protocol: p, Dst: dst, Interval: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if p == TCP {
			if r := hold.Wait(); r.Failed != 1 {
				t.Errorf("TCP: %s; want 1 failed", r)
			}
			continue
		}
		if _, err := pod.ServeAs("new", p, dst); err != nil {
			t.Fatal(err)
		}
		for hold.Report().Moved == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if r := hold.Wait(); r.Moved != 1 || r.Servers["new"] != 1 {
			t.Errorf("UDP: %s, servers %v; want 1 moved, to new", r, r.Servers)
		}
	}
}

func TestHTTP(t *testing.T) {
	lab := ForTest(t, TwoNodes())
	server, err := lab.Host("b1").ServeHTTP(8080)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: lab.Host("a1").DialContext, DisableKeepAlives: true}}
	for _, f := range families {
		resp, err := client.Get("http://" + at(t, lab.Host("b1"), f, 8080).String())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		name, from, parseErr := parseGreeting(body)
		if err != nil || parseErr != nil || name != "b1" || from.Addr() != at(t, lab.Host("a1"), f, 0).Addr() {
			t.Errorf("HTTP over %s: %q, %v, %v", f, body, err, parseErr)
		}
	}
	if server.Hits() != 2 {
		t.Errorf("the HTTP server counts %d hits; want 2", server.Hits())
	}
}

func TestLatencies(t *testing.T) {
	var l, sum Latencies
	for us := range 1000 {
		l.add(time.Duration(us+1) * time.Microsecond)
	}
	sum.merge(&l)
	sum.merge(&l)
	for q, us := range map[float64]float64{0.5: 500, 0.9: 900, 0.99: 990, 1: 1000} {
		got := float64(sum.Quantile(q).Microseconds())
		if got < us || got > us*(1+1.0/subBuckets)+1 {
			t.Errorf("quantile %v of 1 to 1000 us is %v us", q, got)
		}
	}
	if sum.Count() != 2000 || sum.Max() != time.Millisecond {
		t.Errorf("%d durations, longest %v", sum.Count(), sum.Max())
	}
	for b := range subBuckets * 30 {
		if got := bucketOf(upperBound(b) - 1); got != b {
			t.Fatalf("the end of bucket %d is in bucket %d", b, got)
		}
	}
}
